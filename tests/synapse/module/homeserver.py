"""A Synapse that loads the companion module, and whose federation can be cut off."""

import json
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from tests.fakes.tls import CertificateAuthority
from tests.fakes.tls_proxy import TlsProxy
from tests.integration.conftest import free_port
from tests.synapse.homeserver import PYTHON, Synapse
from tests.synapse.identity import PublicIdentityServer
from tests.synapse.person import Person
from tests.synapse.waiting import eventually

BINDINGS = "/_matrix/identity/unstable/sydent_py/homeserver/bindings"
STATUS = "/_synapse/client/sydent_py/status"
RECONCILE = "/_synapse/client/sydent_py/reconcile"


class ModuleSynapse(Synapse):
    """``installed`` is where the module is, and nothing else of ours; ``module`` its configuration."""

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority,
        mail_port: int,
        *,
        installed: Path,
        module: dict[str, Any],
        python: Path = PYTHON,
    ) -> None:
        self.python = python
        self.proxy = TlsProxy(authority.server_context("localhost", "127.0.0.1"))
        self._installed = installed
        self.module = module
        self._backend_port, self.metrics_port = free_port(), free_port()
        self.proxy.backend_port = self._backend_port
        super().__init__(directory, authority, mail_port)
        self.name = self.proxy.name
        self.configure(module)

    def use_postgresql(self, url: str, **more: Any) -> None:
        """Have its database there, and not in a file."""
        arguments = {**psycopg.conninfo.conninfo_to_dict(url), "cp_min": 1, "cp_max": 5}
        self.configure(self.module, database={"name": "psycopg2", "allow_unsafe_locale": True, "args": arguments}, **more)

    def configure(self, module: dict[str, Any], **more: Any) -> None:
        """Write another configuration, for the next start."""
        self.module = module
        (self.directory / "homeserver.yaml").write_text(json.dumps({**self._configuration(), **more}))

    def restart(self) -> None:
        self.stop()
        self.launch()
        self.wait_until_up()

    def start(self) -> None:
        self.launch()
        self.wait_until_up()
        self.admin = self.register("admin", admin=True)

    def close(self) -> None:
        self.kill()
        self.proxy.__exit__(None, None, None)

    def status(self) -> dict[str, Any]:
        status, answer = self.request("GET", STATUS, self.admin.access_token)
        assert status == 200, answer
        return dict(answer)

    def reconcile(self) -> dict[str, Any]:
        """Have it compared and repaired, and wait until it is; what was found."""
        before = self.status()["reconciliation"].get("finished_ms", 0)
        assert self.request("POST", RECONCILE, self.admin.access_token, {})[0] == 202

        def later() -> dict[str, Any] | None:
            found = self.status()["reconciliation"]
            return found if found.get("finished_ms", 0) > before else None

        found = dict(eventually(later, "a reconciliation"))
        self.wait_until_told()
        return found

    def wait_until_told(self, within_s: float = 30) -> None:
        eventually(lambda: self.status()["queue"]["waiting"] == 0, "an empty queue", within_s)

    def give(self, person: Person, *addresses: str) -> None:
        """As an admin, give a user these addresses and no others: an address is taken from whoever has it."""
        threepids = [{"medium": "msisdn" if each.isdigit() else "email", "address": each} for each in addresses]
        path = f"/_synapse/admin/v2/users/{quote(person.user_id)}"
        status, answer = self.request("PUT", path, self.admin.access_token, {"threepids": threepids})
        assert status == 200, answer

    def in_database(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do something in its database, which may be open."""
        connection = sqlite3.connect(self.directory / "homeserver.db", timeout=20)
        try:
            with connection:
                return work(connection)
        finally:
            connection.close()

    def metrics(self) -> str:
        return self._http.request("GET", f"http://localhost:{self.metrics_port}/metrics").data.decode()

    def warnings(self, text: str) -> list[str]:
        """The lines of its log at level WARNING or above that hold ``text``."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if text in line and (" WARNING " in line or " ERROR " in line)]

    def _environ(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self._installed)}

    def _configuration(self) -> dict[str, Any]:
        modules = [{"module": "sydent_py.synapse.SydentModule", "config": self.module}] if self.module else []
        return {
            **super()._configuration(),
            "modules": modules,
            "enable_metrics": True,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "user_directory": {"enabled": True, "search_all_users": True},
        }

    def _listeners(self) -> list[dict[str, Any]]:
        common = {"bind_addresses": ["127.0.0.1"], "type": "http", "tls": False}
        return [
            {**common, "port": self.client_port, "resources": [{"names": ["client", "health"]}]},
            {**common, "port": self._backend_port, "resources": [{"names": ["federation"]}], "x_forwarded": True},
            {"bind_addresses": ["127.0.0.1"], "type": "metrics", "port": self.metrics_port},
        ]


class TrustingServer(PublicIdentityServer):
    """An identity server that trusts homeservers."""

    def trust(self, name: str, **what: Any) -> None:
        lines = [f"{key} = {json.dumps(value)}" for key, value in {"name": name, **what}.items()]
        with self.process.config.open("a") as config:
            config.write("\n[[trusted_homeservers]]\n" + "\n".join(lines) + "\n")

    def change_for(self, homeserver: Synapse, action: str, address: str, user_id: str) -> None:
        """As the homeserver would have it, behind the back of the module."""
        now_ms = time.time_ns() // 1_000_000
        medium = "msisdn" if address.isdigit() else "email"
        change = {"action": action, "medium": medium, "address": address, "mxid": user_id, "ts": now_ms, "seq": 1}
        body: dict[str, Any] = {"ts": now_ms, "id": uuid.uuid4().hex, "changes": [change]}
        headers = {"Authorization": homeserver.authorization(self.name, "POST", BINDINGS, body)}
        answer = self.request("POST", BINDINGS, headers=headers, body=json.dumps(body).encode())
        assert answer.json()["results"][0]["status"] == "done", answer.data

    def restart(self) -> None:
        assert self.process.stop() == 0
        self.process.start()
