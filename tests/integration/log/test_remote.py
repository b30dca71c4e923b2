"""The client for a server that is named by whoever runs it, against servers that do their worst."""

import socket
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from sydent_py.clock import SystemClock
from sydent_py.federation.remote import Answered, BaseUrl, NotThere, Remote
from sydent_py.federation.transport import Reason, RequestFailed
from tests.fakes.http_server import http_server
from tests.fakes.tls import CertificateAuthority
from tests.integration.federation.raw_server import Behaviour, raw_server

LIMIT = 1000


class HastyClock(SystemClock):
    """Does not wait between attempts."""

    def sleep_s(self, seconds: float) -> None:
        pass


def remote(port: int, scheme: str = "http", host: str = "127.0.0.1", timeout_s: float = 5, **options: Any) -> Remote:
    return Remote(BaseUrl.parse(f"{scheme}://{host}:{port}/base"), HastyClock(), timeout_s=timeout_s, **options)


def answers(answer: bytes) -> Behaviour:
    """Each connection gets one answer, and is closed."""

    def behave(connection: socket.socket, _stopped: Event) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return behave


def sends_for_ever(start: bytes, more: bytes, pause_s: float = 0.0) -> Behaviour:
    def behave(connection: socket.socket, stopped: Event) -> None:
        connection.settimeout(0.2)  # a client that has left takes nothing any more, and need not say so
        connection.recv(4096)
        connection.sendall(start)
        while not stopped.wait(pause_s) if pause_s else not stopped.is_set():
            connection.sendall(more)

    return behave


def closes_at_once(connection: socket.socket, _stopped: Event) -> None:
    connection.recv(4096)


def stays_silent(_connection: socket.socket, stopped: Event) -> None:
    stopped.wait()


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HOSTILE: dict[str, tuple[Behaviour, Reason]] = {
    "10 GB": (sends_for_ever(OK + b"Content-Length: 10000000000\r\n\r\n", bytes(65536)), Reason.TOO_LARGE),
    "10 GB without a length": (sends_for_ever(OK + b"\r\n", bytes(65536)), Reason.TOO_LARGE),
    "chunks for ever": (sends_for_ever(CHUNKED, b"100\r\n" + bytes(256) + b"\r\n"), Reason.TOO_LARGE),
    "a huge chunk": (sends_for_ever(CHUNKED + b"ffffffffff\r\n", bytes(65536)), Reason.TOO_LARGE),
    "a dripping body": (sends_for_ever(OK + b"Content-Length: 900\r\n\r\n", b"x", 0.02), Reason.TIMEOUT),
    "dripping headers": (sends_for_ever(OK, b"x", 0.02), Reason.TIMEOUT),
    "trailers for ever": (sends_for_ever(CHUNKED + b"0\r\n", b"a: b\r\n"), Reason.TIMEOUT),
    "headers for ever": (sends_for_ever(OK, b"a: b\r\n" * 1000), Reason.MALFORMED),
    "continue for ever": (sends_for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), Reason.TIMEOUT),
    "a line for ever": (sends_for_ever(b"", b"x" * 65536), Reason.MALFORMED),
    "silence": (stays_silent, Reason.TIMEOUT),
    "a gzip bomb": (answers(OK + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + bytes(20)), Reason.MALFORMED),
    "a closed connection": (closes_at_once, Reason.UNREACHABLE),
    "half a body": (answers(OK + b"Content-Length: 9\r\n\r\nhalf"), Reason.UNREACHABLE),
    "half a chunk": (answers(CHUNKED + b"9\r\nhalf"), Reason.MALFORMED),
    "no HTTP": (answers(b"220 mail.example ESMTP\r\n"), Reason.MALFORMED),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_costs_little_time_and_memory(name: str) -> None:
    behave, reason = HOSTILE[name]
    began_s = time.monotonic()
    with raw_server(behave) as port, remote(port, timeout_s=0.5) as server, pytest.raises(RequestFailed) as caught:
        server.get("file", LIMIT)
    assert caught.value.reason is reason, caught.value
    assert len(caught.value.detail) <= 200
    assert time.monotonic() - began_s < 3


def test_a_connection_is_used_again_after_any_answer() -> None:
    statuses = {"/base/there": 200, "/base/gone": 404, "/base/broken": 500}
    with http_server(lambda path: (statuses[path], {}, b"x" * LIMIT)) as (port, asked), remote(port) as server:
        assert server.get("there", LIMIT) == b"x" * LIMIT
        with pytest.raises(NotThere):
            server.get("gone", LIMIT)
        with pytest.raises(Answered) as caught:
            server.get("broken", LIMIT)
        assert server.get("there", LIMIT) == b"x" * LIMIT
    assert caught.value.status == 500
    assert [path for path, _ in asked] == ["/base/there", "/base/gone", "/base/broken", "/base/there"]
    assert len({connection for _, connection in asked}) == 1


def test_a_file_may_be_as_large_as_it_may_and_not_larger() -> None:
    with http_server(lambda path: (200, {}, b"x" * int(path[-4:]))) as (port, _), remote(port) as server:
        assert server.get("1000", LIMIT) == b"x" * LIMIT
        with pytest.raises(RequestFailed, match="more than 1,000 bytes"):
            server.get("1001", LIMIT)
        assert server.get("0000", LIMIT) == b""


def test_redirects_are_not_followed() -> None:
    headers = {"Location": "http://127.0.0.1:1/elsewhere"}
    with (
        http_server(lambda _: (302, headers, b"")) as (port, asked),
        remote(port) as server,
        pytest.raises(Answered, match="see http://127") as caught,
    ):
        server.get("file", LIMIT)
    assert (caught.value.status, len(asked)) == (302, 1)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_busy_for_a_moment_is_asked_again(status: int) -> None:
    left = [status, status, 200]
    with http_server(lambda _: (left.pop(0), {}, b"file")) as (port, _), remote(port) as server:
        assert server.get("file", LIMIT) == b"file"
    left = [status] * 3
    with (
        http_server(lambda _: (left.pop(0), {}, b'{"error": "No."}')) as (port, _),
        remote(port) as server,
        pytest.raises(Answered, match=r"No\.") as caught,
    ):
        server.get("file", LIMIT)
    assert (caught.value.status, left) == (status, [])


def test_a_connection_that_was_closed_meanwhile_is_opened_anew() -> None:
    def serve_once_each(connection: socket.socket, _stopped: Event) -> None:
        connection.recv(4096)
        connection.sendall(OK + b"Content-Length: 4\r\n\r\nfile")

    with raw_server(serve_once_each) as port, remote(port) as server:
        assert [server.get("file", LIMIT) for _ in range(3)] == [b"file"] * 3


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with http_server(lambda _: (200, {}, b"file")) as (port, _), remote(port) as server:
        assert server.get("file", LIMIT) == b"file"


def tls_server(authority: CertificateAuthority, name: str) -> Behaviour:
    context = authority.server_context(name)

    def behave(connection: socket.socket, _stopped: Event) -> None:
        connection.settimeout(5)
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(4096)
            secure.sendall(OK + b"Content-Length: 4\r\n\r\nfile")

    return behave


@pytest.mark.parametrize(
    ("name", "trusted", "said"),
    [
        ("localhost", "ca.pem", ""),
        ("localhost", "", "unable to get local issuer certificate"),
        ("elsewhere.test", "ca.pem", "Hostname mismatch"),
    ],
)
def test_certificates_are_verified(
    authority: CertificateAuthority, tmp_path: Path, name: str, trusted: str, said: str
) -> None:
    ca_file = authority.write_root(tmp_path / trusted) if trusted else None
    with raw_server(tls_server(authority, name)) as port, remote(port, "https", "localhost", ca_file=ca_file) as server:
        if not said:
            assert server.get("file", LIMIT) == b"file"
            return
        with pytest.raises(RequestFailed, match=said) as caught:
            server.get("file", LIMIT)
    assert caught.value.reason is Reason.TLS


def test_names_that_cannot_be_resolved_and_ports_that_are_closed() -> None:
    def unknown(_host: str) -> list[str]:
        raise OSError(-2, "Name or service not known")

    with remote(80, host="nowhere.test", addresses=unknown) as server, pytest.raises(RequestFailed) as caught:
        server.get("file", LIMIT)
    assert (caught.value.reason, caught.value.detail) == (Reason.UNRESOLVABLE, "Name or service not known")
    with remote(1) as server, pytest.raises(RequestFailed, match="Connection refused") as caught:
        server.get("file", LIMIT)
    assert caught.value.reason is Reason.UNREACHABLE


def test_the_second_address_serves_where_the_first_does_not() -> None:
    two = ["127.9.9.9", "127.0.0.1"]
    with (
        http_server(lambda _: (200, {}, b"file")) as (port, _),
        remote(port, host="two.test", addresses=lambda _: two) as server,
    ):
        assert server.get("file", LIMIT) == b"file"


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("https://id.test", "id.test", 443, ""),
        ("http://id.test/", "id.test", 80, ""),
        ("http://127.0.0.1:8090/x/", "127.0.0.1", 8090, "/x"),
        ("https://[::1]:8448/a/b", "::1", 8448, "/a/b"),
    ],
)
def test_urls(text: str, host: str, port: int, path: str) -> None:
    url = BaseUrl.parse(text)
    assert (url.host, url.port, url.path) == (host, port, path)
    assert str(url) == text.rstrip("/")
    assert str(url / "tile/0") == f"{text.rstrip('/')}/tile/0"
