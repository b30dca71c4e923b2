"""The ways between servers of one process: requests go straight into the other's application, or nowhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from flask import Flask

from sydent_py.federation.remote import Answered, NotThere
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.replication.peers import Peer

Tamper = Callable[[str, bytes], bytes]


@dataclass
class Network:
    """Which server answers under which name, which connections are cut, and who changes what on its way."""

    apps: dict[str, Flask] = field(default_factory=dict)
    cut: set[frozenset[str]] = field(default_factory=set)
    tamper: dict[str, Tamper] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def way_from(self, origin: str) -> Callable[[Peer], "Way"]:
        return lambda peer: Way(self, origin, peer.name)


@dataclass
class Way:
    """From one server to another."""

    network: Network
    origin: str
    destination: str

    def get(self, path: str, max_bytes: int, headers: Callable[[], Mapping[str, str]] = dict) -> bytes:
        return self._send("GET", path, max_bytes, headers())

    def post(self, path: str, body: bytes, max_bytes: int, headers: Callable[[], Mapping[str, str]] = dict) -> bytes:
        return self._send("POST", path, max_bytes, headers(), data=body)

    def _send(self, method: str, path: str, max_bytes: int, headers: Mapping[str, str], **options: Any) -> bytes:
        app = self.network.apps.get(self.destination)
        self.network.requests.append((self.origin, self.destination, path))
        if app is None or frozenset((self.origin, self.destination)) in self.network.cut:
            raise RequestFailed(Reason.UNREACHABLE)
        answer = app.test_client().open(f"/{path}", method=method, headers=dict(headers), **options)
        if answer.status_code != 200:
            kind = NotThere if answer.status_code == 404 else Answered
            raise kind(answer.status_code, answer.text[:200], answer.data)
        body = self.network.tamper.get(self.destination, lambda _path, content: content)(urlsplit(path).path, answer.data)
        if len(body) > max_bytes:
            raise RequestFailed(Reason.TOO_LARGE)
        return body
