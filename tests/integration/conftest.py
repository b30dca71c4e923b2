"""The real server: gunicorn workers in processes of their own, a TLS homeserver, and a mail server."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import urllib3

from tests.fakes.homeserver import FakeHomeserver
from tests.fakes.smtp import SmtpServer
from tests.fakes.tls import CertificateAuthority

COMMAND = Path(sys.executable).parent / "sydent-py"
V2 = "/_matrix/identity/v2"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class IdentityServer:
    """``sydent-py serve`` with a configuration file, and a client that speaks to it."""

    def __init__(
        self, directory: Path, sections: dict[str, dict[str, Any]], command: Path = COMMAND, arguments: tuple[str, ...] = ()
    ) -> None:
        self.command = command
        self.arguments = arguments
        self.directory = directory
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.output = directory / "output.txt"
        server = {
            "name": "id.test",
            "public_base_url": self.base_url,
            "bind": f"127.0.0.1:{self.port}",
            "workers": 2,
            "threads": 4,
            "data_dir": str(directory / "data"),
        }
        self.config = directory / "sydent.toml"
        self.config.write_text(to_toml({**sections, "server": {**server, **sections.get("server", {})}}))
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(30), maxsize=20)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop(signal.SIGKILL)
        self._http.clear()

    def start(self) -> None:
        with self.output.open("ab") as output:
            command = [self.command, "--config", self.config, "serve", *self.arguments]
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=self.directory, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while not self._is_ready():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal the whole process group where it is still there; the exit status."""
        if how == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)
        elif self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(30)

    def request(self, method: str, path: str, token: str | None = None, **options: Any) -> urllib3.BaseHTTPResponse:
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **options.pop("headers", {})}
        return self._http.request(method, self.base_url + path, headers=headers, redirect=False, **options)

    def get(self, path: str, token: str | None = None, **fields: Any) -> tuple[int, Any]:
        timeout = fields.pop("timeout", urllib3.Timeout(30))
        answer = self.request("GET", V2 + path, token, fields=fields, timeout=timeout)
        return answer.status, answer.json()

    def post(self, path: str, body: dict[str, Any], token: str | None = None) -> tuple[int, Any]:
        answer = self.request("POST", V2 + path, token, body=json.dumps(body).encode())
        return answer.status, answer.json()

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False


def to_toml(sections: dict[str, dict[str, Any]]) -> str:
    """TOML, whose strings, numbers, booleans and lists are written as in JSON."""
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines)


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def homeserver(authority: CertificateAuthority) -> Iterator[FakeHomeserver]:
    with FakeHomeserver(authority) as homeserver:
        yield homeserver


@pytest.fixture
def smtp(authority: CertificateAuthority) -> Iterator[SmtpServer]:
    with SmtpServer(starttls=authority.server_context("localhost", "127.0.0.1"), login=("sydent", "hunter2")) as server:
        yield server


@pytest.fixture
def sections(
    authority: CertificateAuthority, smtp: SmtpServer, empty_database_url: str, tmp_path: Path
) -> dict[str, dict[str, Any]]:
    """A configuration that reaches the fakes as it would reach the real things: verified TLS everywhere."""
    ca_file = str(authority.write_root(tmp_path / "ca.pem"))
    (tmp_path / "password").write_text("hunter2\n")
    return {
        "database": {"url": empty_database_url},
        "email": {
            "from": "Identity <noreply@id.test>",
            "smtp_host": smtp.host,
            "smtp_port": smtp.port,
            "smtp_username": "sydent",
            "smtp_password_file": str(tmp_path / "password"),
            "ca_file": ca_file,
        },
        "federation": {"ca_file": ca_file, "allow_networks": ["127.0.0.0/8", "::1/128"]},
    }


@pytest.fixture
def server(sections: dict[str, dict[str, Any]], tmp_path: Path) -> Iterator[IdentityServer]:
    with IdentityServer(tmp_path, sections) as server:
        yield server
