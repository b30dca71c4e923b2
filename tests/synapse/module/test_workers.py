"""The module in a Synapse of several processes, on PostgreSQL and Redis."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PostgreSql
from tests.fakes.smtp import SmtpServer
from tests.fakes.tls import CertificateAuthority
from tests.integration.conftest import free_port
from tests.synapse.homeserver import PYTHON
from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.module.test_lookups import found
from tests.synapse.person import Person
from tests.synapse.waiting import eventually

REDIS = PYTHON.parent / "redis-server"
WORKER = "worker1"


class SynapseOfTwo(ModuleSynapse):
    """The worker does what is done in the background, and what users say of their accounts."""

    def serve_with_worker(self, postgresql_url: str) -> None:
        """Write the configuration of both."""
        self.redis_port, self.worker_port, self._replication = free_port(), free_port(), (free_port(), free_port())
        self.worker_log = self.directory / "worker.log"
        self.use_postgresql(
            postgresql_url,
            redis={"enabled": True, "host": "127.0.0.1", "port": self.redis_port},
            worker_replication_secret="between workers",
            instance_map={"main": self._address(0), WORKER: self._address(1)},
            run_background_tasks_on=WORKER,
            update_user_directory_from_worker=WORKER,
            stream_writers={"account_data": [WORKER]},
        )
        listeners = [
            {"port": self.worker_port, "type": "http", "resources": [{"names": ["client", "health"]}]},
            self._replication_listener(1),
        ]
        worker = {"worker_app": "synapse.app.generic_worker", "worker_name": WORKER, "worker_listeners": listeners}
        log = {"worker_log_config": str(self.directory / "log.yaml")}
        (self.directory / "worker.yaml").write_text(json.dumps({**worker, **log}))

    def launch_redis(self) -> subprocess.Popen[bytes]:
        command = [REDIS, "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", ""]
        return subprocess.Popen(command, cwd=self.directory, stdout=subprocess.DEVNULL)

    def launch_worker(self) -> subprocess.Popen[bytes]:
        command = [PYTHON, "-m", "synapse.app.generic_worker", "-c", "homeserver.yaml", "-c", "worker.yaml"]
        environ = {**os.environ, "SSL_CERT_FILE": str(self._ca_file), **self._environ()}
        with self.worker_log.open("ab") as log:
            return subprocess.Popen(command, cwd=self.directory, env=environ, stdout=log, stderr=log)

    def ask_worker(self, method: str, path: str, token: str = "", body: Any = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}"}
        answer = self._http.request(method, f"http://localhost:{self.worker_port}{path}", body=content, headers=headers)
        return answer.status, answer.json()

    def _address(self, which: int) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self._replication[which]}

    def _replication_listener(self, which: int) -> dict[str, Any]:
        port = self._replication[which]
        return {"port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "resources": [{"names": ["replication"]}]}

    def _listeners(self) -> list[dict[str, Any]]:
        replication = [self._replication_listener(0)] if hasattr(self, "_replication") else []
        return [*super()._listeners(), *replication]


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def homeserver(
    request: pytest.FixtureRequest, synapse: ModuleSynapse, identity: TrustingServer, installed: Path, tmp_path: Path
) -> Iterator[SynapseOfTwo]:
    if not REDIS.exists():
        pytest.skip(f"SYNAPSE'S WORKERS ARE NOT TESTED: {REDIS} is not there; it has no wheel for this Python")
    authority: CertificateAuthority = request.getfixturevalue("authority")
    smtp: SmtpServer = request.getfixturevalue("smtp")
    postgresql: PostgreSql = request.getfixturevalue("postgresql")
    homeserver = SynapseOfTwo(tmp_path, authority, smtp.port, installed=installed, module=synapse.module)
    homeserver.serve_with_worker(postgresql.server.get_uri(postgresql.create()))
    identity.trust(homeserver.name, media=["email"], lookups=True)
    identity.restart()
    with ExitStack() as stack:
        stack.enter_context(running(homeserver.launch_redis()))
        stack.callback(homeserver.close)
        homeserver.launch()
        homeserver.wait_until_up()  # it makes the tables
        stack.enter_context(running(homeserver.launch_worker()))
        eventually(lambda: "Synapse now listening" in homeserver.worker_log.read_text(), "the worker")
        homeserver.admin = homeserver.register("admin", admin=True)
        yield homeserver


def test_any_worker_writes_to_the_queue_and_one_empties_it(
    homeserver: SynapseOfTwo, identity: TrustingServer, address: str
) -> None:
    alice, bob = homeserver.register("alice"), homeserver.register("bob")
    homeserver.give(alice, address)
    account = alice.account_at(identity)
    eventually(lambda: account.lookup(address) == alice.user_id, "what the main process has written is told")
    there = Person(homeserver.ask_worker, alice.user_id, alice.password, alice.access_token)
    choice = f"/user/{alice.user_id}/account_data/org.sydent_py.consent"
    there.do("PUT", choice, {"publish": False})
    eventually(lambda: account.lookup(address) is None, "what the worker has written is told")
    there.do("PUT", choice, {"publish": True})
    homeserver.wait_until_told()
    searching = Person(homeserver.ask_worker, bob.user_id, bob.password, bob.access_token)
    assert found(searching, address) == [alice.user_id]
    assert "Self-test" in homeserver.worker_log.read_text()
    assert "Self-test" not in homeserver.log.read_text()
