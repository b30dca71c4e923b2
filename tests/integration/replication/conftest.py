"""Three real servers that are each other's peers, one of which follows two hostile servers, too."""

import contextlib
import http.client
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
from sqlalchemy import text
from unpaddedbase64 import encode_base64

from sydent_py.database import Database
from sydent_py.directory.peppers import lookup_hash
from sydent_py.tlog.tiles import TileName
from tests.conftest import SEALING_KEY, PostgreSql
from tests.driver import OWN
from tests.fakes.clock import FakeClock
from tests.fakes.homeserver import FakeHomeserver
from tests.fakes.lying_peer import LyingPeer
from tests.fakes.smtp import SmtpServer
from tests.fakes.tls import CertificateAuthority
from tests.integration.conftest import IdentityServer
from tests.integration.test_whole_flow import bind, confirm, register, request_token
from tests.usecases.replication.conftest import log_key, peer_section, seed

# How long something may take that is expected in a second: the machine may do other things.
WITHIN_S = 30.0
ENDLESS_BYTES = 10 * 1024**3


def wait_until(condition: Callable[[], Any], within_s: float = WITHIN_S) -> float:
    """Wait for something: how long it took."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < within_s
        time.sleep(0.02)
    return time.monotonic() - began_s


@dataclass
class Node:
    """One of the servers, the homeserver of its users, and their mail."""

    name: str
    server: IdentityServer
    homeserver: FakeHomeserver
    smtp: SmtpServer
    url: str
    witness: str = field(init=False)

    def bind(self, localpart: str, email: str) -> str:
        """Prove and bind an address: the access token."""
        token = register(self.server, self.homeserver, localpart)
        sid = request_token(self.server, token, email)[1]["sid"]
        confirm(self.server, self.smtp.newest)
        status, answer = bind(self.server, token, sid, f"@{localpart}:{self.homeserver.name}")
        assert status == 200, answer
        return token

    def lookup(self, *emails: str) -> dict[str, str]:
        if not hasattr(self, "witness"):
            self.witness = register(self.server, self.homeserver, "witness")
        _, details = self.server.get("/hash_details", self.witness)
        hashes = {lookup_hash(f"{email} email", details["lookup_pepper"]): email for email in emails}
        body = {"algorithm": "sha256", "pepper": details["lookup_pepper"], "addresses": list(hashes)}
        status, answer = self.server.post("/lookup", body, self.witness)
        assert status == 200, answer
        return {hashes[key]: mxid for key, mxid in answer["mappings"].items()}

    def unbind(self, token: str, email: str) -> None:
        assert self.server.request("DELETE", f"{OWN}/bindings/email/{email}", token).status == 200

    def erase(self, token: str) -> None:
        assert self.server.request("POST", f"{OWN}/account/erase", token).status == 200

    @cached_property
    def database(self) -> Database:
        return Database(self.url, pool_size=1)

    def count(self, sql: str, **values: Any) -> int:
        with self.database.autocommit() as db:
            return int(db.execute(text(sql), values).scalar_one_or_none() or 0)

    def followed(self, peer: str) -> int:
        """How many entries of a peer were taken over."""
        return self.count("SELECT size FROM peers WHERE name = :peer", peer=peer)

    def log_size(self) -> int:
        return self.count("SELECT published_size FROM log_head")

    def error(self, peer: str) -> str | None:
        with self.database.autocommit() as db:
            rows = db.execute(text("SELECT * FROM peers WHERE name = :peer"), {"peer": peer}).all()
        is_known = rows and (rows[0].error or rows[0].checked_at_ms)
        return rows[0].error if is_known else "never asked"

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to all its processes at once."""
        os.killpg(self.server.process.pid, which)

    def memory(self) -> int:
        """The most that one of its processes holds, in bytes."""
        processes = psutil.Process(self.server.process.pid).children(recursive=True)
        return max(int(process.memory_info().rss) for process in processes)


Trio = dict[str, Node]


class Hostile(LyingPeer):
    """A peer that answers ``payloads`` with what has no end."""

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.partition(f"{OWN}/log/")[2]
        self.asked.append(name)
        if not name.startswith("payloads"):
            content = self.checkpoint() if name == "checkpoint" else self.file(TileName.parse(name))
            self._send(handler, len(content), iter([content]))
        elif self.name == "endless.test":
            self._send(handler, ENDLESS_BYTES, endless(b" " * 2**16, 0))
        else:
            self._send(handler, 2**20, endless(b" ", 0.05))

    def _send(self, handler: BaseHTTPRequestHandler, length: int, parts: Iterator[bytes]) -> None:
        handler.send_response(http.client.OK)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        with contextlib.suppress(OSError):
            for part in parts:
                handler.wfile.write(part)
        handler.close_connection = True


def endless(part: bytes, every_s: float) -> Iterator[bytes]:
    while True:
        yield part
        time.sleep(every_s)


@contextmanager
def hostile(name: str) -> Iterator[tuple[Hostile, str]]:
    """A hostile server, and its URL."""
    peer = Hostile(name, seed(name, "signing"), log_key(name), FakeClock(1_700_000_000_000))
    peer.bind("victim@example.org", "@mallory:hs.test")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            peer.reply(self)

        def do_POST(self) -> None:
            self.send_error(500)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield peer, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.socket.close()
        thread.join()


@dataclass
class Surroundings:
    """The homeserver of all users, their mail, and a directory for the servers."""

    parent: Path
    homeserver: FakeHomeserver
    smtp: SmtpServer
    ca_file: str

    def node(self, name: str, url: str = "", **options: Any) -> Node:
        """A server that is not running yet, on SQLite unless another ``url`` is given; ``options`` are those of the server."""
        sections = {
            "email": {
                "from": "noreply@id.test",
                "smtp_host": self.smtp.host,
                "smtp_port": self.smtp.port,
                "smtp_security": "none",
            },
            "federation": {"ca_file": self.ca_file, "allow_networks": ["127.0.0.0/8", "::1/128"]},
            "limits": {"enabled": False},
            "replication": {"poll_seconds": 5},
        }
        directory = self.parent / name
        write_keys(directory / "data", name)
        url = url or f"sqlite:///{directory / 'sydent.db'}"
        own = {"name": name, "workers": 1}
        server = IdentityServer(directory, {**sections, "server": own, "database": {"url": url}}, **options)
        return Node(name, server, self.homeserver, self.smtp, url)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Surroundings]:
    parent = tmp_path_factory.mktemp("peers")
    with FakeHomeserver(authority) as homeserver, SmtpServer() as smtp:
        yield Surroundings(parent, homeserver, smtp, str(authority.write_root(parent / "ca.pem")))


@pytest.fixture(scope="module")
def trio(surroundings: Surroundings, postgresql: PostgreSql) -> Iterator[Trio]:
    """Two servers on SQLite, one on PostgreSQL. The first one has two hostile peers beside the others."""
    on_postgresql = postgresql.create()
    with ExitStack() as stack:
        urls = {"a.test": "", "b.test": "", "c.test": postgresql.url(on_postgresql)}
        nodes: Trio = {name: surroundings.node(name, url) for name, url in urls.items()}
        strangers = [stack.enter_context(hostile(name)) for name in ("endless.test", "drip.test")]
        for node in nodes.values():
            peers = [(other.name, other.server.base_url) for other in nodes.values() if other is not node]
            peers += [(peer.name, url) for peer, url in strangers if node.name == "a.test"]
            configure(node.server, [peer_section(name, base_url=url) for name, url in peers])
            stack.enter_context(node.server)
        for node in nodes.values():
            wait_until(lambda node=node: all(node.error(name) is None for name in nodes if name != node.name), 60)
        yield nodes
        for node in nodes.values():
            node.database.close()
    postgresql.drop(on_postgresql)


def write_keys(directory: Path, name: str) -> None:
    directory.mkdir(parents=True)
    for file, purpose in (("signing.key", "signing"), ("log.key", "log")):
        (directory / file).write_text(f"ed25519 0 {encode_base64(seed(name, purpose))}\n")
    (directory / "sealing.key").write_text(SEALING_KEY)


def configure(server: IdentityServer, peers: list[Mapping[str, Any]]) -> None:
    blocks = ["\n".join(["[[peers]]", *(f'{key} = "{value}"' for key, value in peer.items())]) for peer in peers]
    server.config.write_text("\n\n".join([server.config.read_text(), *blocks]))
