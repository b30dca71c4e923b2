"""A real Synapse in a process of its own, which federates on loopback under a name with a port."""

import hashlib
import hmac
import itertools
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from signedjson.key import generate_signing_key, write_signing_keys
from signedjson.sign import sign_json
from signedjson.types import SigningKey

from tests.fakes.tls import CertificateAuthority
from tests.integration.conftest import free_port
from tests.synapse.identity import PublicIdentityServer
from tests.synapse.person import Person
from tests.synapse.waiting import eventually

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-synapse" / "bin" / "python"
SHARED_SECRET = "between the test and its homeservers"
UNLIMITED = {"per_second": 10_000, "burst_count": 10_000}
ONBIND = re.compile(
    r"\{(?P<sender>[^}]*)\} Processed request: .* (?P<status>\d+) \"POST /_matrix/federation/v1/3pid/onbind "
)


class Synapse:
    """``localhost:PORT``, where PORT takes federation requests with TLS; clients have a port of their own without."""

    _numbers = itertools.count(1)
    python = PYTHON

    def __init__(self, directory: Path, authority: CertificateAuthority, mail_port: int) -> None:
        self.directory = directory
        self.name = f"localhost:{free_port()}"
        self.client_port = free_port()
        self.url = f"http://localhost:{self.client_port}"
        self.log = directory / "homeserver.log"
        self._ca_file = authority.write_root(directory / "ca.pem")
        self._certificate, self._private_key = authority.write_certificate(directory, "localhost", "127.0.0.1")
        self._mail_port = mail_port
        self._http = urllib3.PoolManager(retries=False, timeout=30)
        self._make_signing_key()
        (directory / "homeserver.yaml").write_text(json.dumps(self._configuration()))  # which is YAML, too

    def launch(self) -> None:
        """Start it without waiting, so that several can start at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.python, "-m", "synapse.app.homeserver", "-c", "homeserver.yaml"],
                cwd=self.directory,
                env={**os.environ, "SSL_CERT_FILE": str(self._ca_file), **self._environ()},
                stdout=log,
                stderr=log,
            )

    def wait_until_up(self) -> None:
        eventually(self._is_up, f"{self.name} is up (its log is {self.log})", within_s=90)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        self._http.clear()
        self._process.send_signal(how)
        self._process.wait(30)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    @contextmanager
    def down(self) -> Iterator[None]:
        """It is killed, and comes back afterwards."""
        self.kill()
        try:
            yield
        finally:
            self.launch()
            self.wait_until_up()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections meanwhile and answers nothing; afterwards, everything at once."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def change_signing_key(self) -> None:
        with self.down():
            self._make_signing_key()

    def register(self, localpart: str, *, admin: bool = False) -> Person:
        """A new user, whose name begins with ``localpart``."""
        username, password = f"{localpart}{next(self._numbers)}", "correct horse"
        path = "/_synapse/admin/v1/register"
        nonce = self.request("GET", path)[1]["nonce"]
        fields = f"{nonce}\0{username}\0{password}\0{'admin' if admin else 'notadmin'}"
        mac = hmac.new(SHARED_SECRET.encode(), fields.encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": username, "password": password, "admin": admin, "mac": mac}
        status, answer = self.request("POST", path, body=body)
        assert status == 200, answer
        return Person(self.request, answer["user_id"], password, answer["access_token"])

    def request(self, method: str, path: str, token: str = "", body: Any = None) -> tuple[int, Any]:
        """Status and body of the answer of its client API, and of the pages for people beside it."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        content = None if body is None else json.dumps(body).encode()
        answer = self._http.request(method, self.url + path, body=content, headers=headers)
        is_json = answer.headers["Content-Type"].startswith("application/json")
        return answer.status, answer.json() if is_json else answer.data.decode()

    def authorization(self, destination: str, method: str, uri: str, content: dict[str, Any]) -> str:
        """The header of a request that it signs (Server-Server API, "Request Authentication")."""
        request = {"method": method, "uri": uri, "origin": self.name, "destination": destination, "content": content}
        (key_id, signature), *_ = sign_json(request, self.name, self.signing_key)["signatures"][self.name].items()
        return f'X-Matrix origin="{self.name}",destination="{destination}",key="{key_id}",sig="{signature}"'

    def notified(self, by: PublicIdentityServer) -> list[int]:
        """The statuses it has answered the signed notifications of an identity server with, as its log says.

        Those are not among them whose sender had hung up by then.
        """
        lines = [line for text in self.log.read_text().splitlines() if (line := ONBIND.search(text))]
        return [int(line["status"]) for line in lines if line["sender"] == by.name]

    def _make_signing_key(self) -> None:
        self.signing_key: SigningKey = generate_signing_key(f"k{next(self._numbers)}")
        with (self.directory / "signing.key").open("w") as stream:
            write_signing_keys(stream, [self.signing_key])

    def _environ(self) -> dict[str, str]:
        """What a kind of Synapse needs in its environment."""
        return {}

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self._http.request("GET", self.url + "/health").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def _configuration(self) -> dict[str, Any]:
        """Everything on loopback, and no patience: no limits, short back-off, cheap passwords."""
        return {
            "server_name": self.name,
            "public_baseurl": f"{self.url}/",
            "pid_file": "homeserver.pid",
            "report_stats": False,
            "signing_key_path": "signing.key",
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "listeners": self._listeners(),
            "tls_certificate_path": str(self._certificate),
            "tls_private_key_path": str(self._private_key),
            "ip_range_blacklist": [],
            "database": {"name": "sqlite3", "args": {"database": "homeserver.db"}},
            "media_store_path": "media",
            "log_config": str(self._write_log_configuration()),
            "registration_shared_secret": SHARED_SECRET,
            "macaroon_secret_key": "m",
            "form_secret": "f",
            "bcrypt_rounds": 4,
            "email": {"smtp_host": "127.0.0.1", "smtp_port": self._mail_port, "notif_from": f"Synapse <hs@{self.name}>"},
            "presence": {"enabled": False},
            "caches": {"sync_response_cache_duration": "0s"},
            "federation": {
                "client_timeout": "30s",
                "max_short_retries": 1,
                "max_long_retries": 1,
                "destination_min_retry_interval": "1s",
                "destination_max_retry_interval": "2s",
            },
            **dict.fromkeys(("rc_message", "rc_registration", "rc_room_creation", "rc_3pid_validation"), UNLIMITED),
            "rc_third_party_invite": UNLIMITED,
            "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), UNLIMITED),
            "rc_joins": dict.fromkeys(("local", "remote"), UNLIMITED),
            "rc_invites": dict.fromkeys(("per_room", "per_user", "per_issuer"), UNLIMITED),
        }

    def _listeners(self) -> list[dict[str, Any]]:
        federation_port = int(self.name.rpartition(":")[2])
        common = {"bind_addresses": ["127.0.0.1"], "type": "http"}
        return [
            {**common, "port": self.client_port, "tls": False, "resources": [{"names": ["client", "health"]}]},
            {**common, "port": federation_port, "tls": True, "resources": [{"names": ["federation"]}]},
        ]

    def _write_log_configuration(self) -> Path:
        path = self.directory / "log.yaml"
        plain = {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}
        console = {"class": "logging.StreamHandler", "formatter": "plain"}
        root = {"level": "INFO", "handlers": ["console"]}
        content = {"version": 1, "formatters": {"plain": plain}, "handlers": {"console": console}, "root": root}
        path.write_text(json.dumps({**content, "disable_existing_loggers": False}))
        return path
