"""The port that peers push to: who gets in, and what becomes of those who misbehave."""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sydent_py.clock import SystemClock
from sydent_py.federation import mutual_tls
from sydent_py.federation.mutual_tls import Identity, Listener, Received
from sydent_py.replication.sydent_v1 import PATH
from tests.fakes.tls import CertificateAuthority
from tests.integration.conftest import free_port
from tests.synapse.waiting import eventually


@dataclass(frozen=True)
class Client:
    """A peer called ``sydent.test``, unless another context is given."""

    port: int
    tls: ssl.SSLContext

    def connect(self, tls: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return (tls or self.tls).wrap_socket(plain, server_hostname="localhost")

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self.connect()
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        assert answer.headers["Content-Type"] == "application/json"
        connection.close()
        return answer.status, content.get("errcode", content)

    def send(self, wire: bytes) -> bytes:
        """What comes back for these bytes."""
        with self.connect() as connection:
            connection.sendall(wire)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def is_served(self) -> bool:
        return self.ask("POST", PATH, b"{}") == (200, {"success": True})


def tls_of(
    authority: CertificateAuthority, directory: Path, roots: CertificateAuthority, name: str | None
) -> ssl.SSLContext:
    """A client that shows a certificate with this common name."""
    directory.mkdir(exist_ok=True)
    certificate, key = authority.write_certificate(directory, "client.test", common_name=name)
    return Identity(certificate, key, roots.write_root(directory / "ca.pem")).client_context()


@pytest.fixture
def asked() -> list[Received]:
    """What was asked, by whom."""
    return []


@pytest.fixture
def client(
    authority: CertificateAuthority, tmp_path: Path, asked: list[Received], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    monkeypatch.setattr(mutual_tls, "HANDSHAKE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(mutual_tls, "EXCHANGE_TIMEOUT_S", 1.5)
    certificate, key = authority.write_certificate(tmp_path, "localhost", common_name="id.test")
    context = Identity(certificate, key, authority.write_root(tmp_path / "ca.pem")).server_context()

    def answer(request: Received) -> tuple[int, dict[str, Any]]:
        asked.append(request)
        return 200, {"success": True}

    client = Client(free_port(), tls_of(authority, tmp_path / "client", authority, "sydent.test"))
    with Listener(f"127.0.0.1:{client.port}", context, answer, SystemClock()).listening():
        eventually(lambda: is_open(client), "it listens")
        yield client


def is_open(client: Client) -> bool:
    try:
        client.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_peer_is_known_by_the_common_name_of_its_certificate(client: Client, asked: list[Received]) -> None:
    assert client.ask("POST", f"{PATH}?x", b"body") == (200, {"success": True})
    assert asked == [Received("sydent.test", "POST", PATH, b"body")]


def test_a_certificate_without_a_common_name_names_nobody(
    client: Client, asked: list[Received], authority: CertificateAuthority, tmp_path: Path
) -> None:
    nameless = Client(client.port, tls_of(authority, tmp_path / "nameless", authority, None))
    assert nameless.is_served()
    assert asked[0].common_name is None


def test_two_common_names_name_nobody() -> None:
    subject = (("commonName", "a.test"),), (("commonName", "sydent.test"),)
    assert mutual_tls.common_name({"subject": subject}) is None
    assert mutual_tls.common_name({}) is None


def test_without_a_certificate_of_the_authority_nobody_gets_in(
    client: Client, asked: list[Received], authority: CertificateAuthority, tmp_path: Path
) -> None:
    stranger = tls_of(CertificateAuthority(), tmp_path / "stranger", authority, "sydent.test")
    for context in (stranger, authority.client_context()):
        with pytest.raises(OSError, match=r"(?i)alert|reset|EOF"):
            Client(client.port, context).send(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    assert asked == []
    assert client.is_served()


@pytest.mark.parametrize(
    ("wire", "status", "errcode"),
    [
        (b"nonsense\r\n\r\n", 400, "M_INVALID_PARAM"),
        (b"\x16\x03\x01\r\n\r\n", 400, "M_INVALID_PARAM"),
        (b"POST / HTTP/9.9.9\r\n\r\n", 400, "M_INVALID_PARAM"),
        (b"POST /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n", 414, "M_TOO_LARGE"),
        (b"POST / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431, "M_TOO_LARGE"),
        (b"POST / HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", 431, "M_TOO_LARGE"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, "M_INVALID_PARAM"),
        (b"POST / HTTP/1.1\r\n\r\n", 411, "M_INVALID_PARAM"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 411, "M_INVALID_PARAM"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 411, "M_INVALID_PARAM"),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 411, "M_INVALID_PARAM"),
    ],
)
def test_what_is_not_http_is_answered_and_nobody_is_asked(
    client: Client, asked: list[Received], wire: bytes, status: int, errcode: str
) -> None:
    head, _, body = client.send(wire).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == str(status).encode()
    assert json.loads(body)["errcode"] == errcode
    assert b"Traceback" not in body
    assert asked == []


def test_a_body_of_a_mebibyte_is_the_largest(client: Client, asked: list[Received]) -> None:
    assert client.ask("POST", PATH, b"x" * mutual_tls.MAX_BODY_BYTES) == (200, {"success": True})
    assert client.ask("POST", PATH, b"x" * (mutual_tls.MAX_BODY_BYTES + 1)) == (413, "M_TOO_LARGE")
    assert len(asked) == 1


def test_a_request_needs_no_body(client: Client, asked: list[Received]) -> None:
    assert client.ask("GET", "/") == (200, {"success": True})
    assert asked == [Received("sydent.test", "GET", "/", b"")]


def test_one_request_is_answered_on_a_connection(client: Client, asked: list[Received]) -> None:
    one = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    assert client.send(one + one).count(b"HTTP/1.1 200") == 1
    assert len(asked) == 1


def test_who_is_slow_is_cut_off_and_others_are_served(client: Client, asked: list[Received]) -> None:
    """With the handshake, with the headers, and with the body, a byte at a time."""
    silent = socket.create_connection(("127.0.0.1", client.port), timeout=10)
    dripping = [client.connect() for _ in range(2)]
    dripping[0].sendall(b"POST / HTTP/1.1\r\n")
    dripping[1].sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
    began = time.monotonic()
    assert client.is_served()
    while time.monotonic() - began < 5:
        try:
            for connection in dripping:
                connection.sendall(b"x")
        except OSError:
            break
        time.sleep(0.1)
    assert time.monotonic() - began < 4
    assert silent.recv(1) == b""
    assert len(asked) == 1
    for connection in (silent, *dripping):
        connection.close()


def test_a_body_that_ends_early_asks_nobody(client: Client, asked: list[Received]) -> None:
    with client.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
    assert client.is_served()
    assert len(asked) == 1


def test_one_client_does_not_take_all_connections(client: Client) -> None:
    threads = threading.active_count()
    waiting = [socket.create_connection(("127.0.0.1", client.port), timeout=10) for _ in range(30)]
    eventually(lambda: threading.active_count() - threads <= mutual_tls.MAX_CONNECTIONS_OF_ONE, "threads are few")
    for connection in waiting:
        connection.close()
    eventually(lambda: is_served(client), "room again")


def is_served(client: Client) -> bool:
    try:
        return client.is_served()
    except OSError:
        return False


def test_a_port_that_is_taken_is_listened_on_once_it_is_free(
    authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutual_tls, "LISTEN_AGAIN_AFTER_S", 0.1)
    certificate, key = authority.write_certificate(tmp_path, "localhost", common_name="id.test")
    identity = Identity(certificate, key, authority.write_root(tmp_path / "ca.pem"))
    client = Client(free_port(), identity.client_context())
    with socket.create_server(("127.0.0.1", client.port)):
        listener = Listener(
            f"127.0.0.1:{client.port}", identity.server_context(), lambda _: (200, {"success": True}), SystemClock()
        )
        listening = listener.listening()
        listening.__enter__()
        eventually(lambda: "mutual_tls.not_listening" in capfd.readouterr().out, "it is said")
    eventually(lambda: is_served(client), "it listens")
    with listener.listening():  # as a second process does, while the first one is being replaced
        listening.__exit__(None, None, None)
        eventually(lambda: is_served(client), "it still listens")
    assert not is_served(client)
