"""The one outgoing HTTPS client for servers that strangers can name: resolve, check, dial, and ask once."""

import http.client
import os
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Timer
from types import MappingProxyType
from typing import Any, TypeVar

from sydent_py import __version__
from sydent_py.clock import Deadline
from sydent_py.federation.addresses import is_permitted
from sydent_py.federation.resolver import AddressLookup, AddressResolver, system_addresses
from sydent_py.identifiers import IpAddress, Network, ServerName

MAX_BODY_BYTES = 50 * 1024
# Status line, headers, chunk sizes and body together.
MAX_RECEIVED_BYTES = MAX_BODY_BYTES + 64 * 1024
MAX_ADDRESSES = 4
# However long an answer may take, a server that is there takes a connection in this time.
CONNECT_TIMEOUT_S = 10.0

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

T = TypeVar("T")


class Reason(StrEnum):
    """Why a request failed: for our log alone, never for whoever named the server."""

    BLOCKED = "blocked"
    UNRESOLVABLE = "unresolvable"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    STATUS = "status"


class RequestFailed(Exception):
    """Another server could not be asked, or did not answer as it should.

    Neither the message nor a chained exception holds the path, the query, a header or a body: they carry tokens and
    addresses.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to dial, and as whom: IP literals stand without brackets in ``host`` and ``tls_name``."""

    host: str
    port: int
    host_header: str
    tls_name: str

    @classmethod
    def of(cls, name: ServerName, port: int, dial: ServerName | None = None) -> "Destination":
        """The server ``name`` at ``port``, of ``dial`` where an SRV record says so."""
        return cls(_without_brackets((dial or name).host), port, name.text, _without_brackets(name.host))


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of at most ``MAX_BODY_BYTES``, whatever its status."""

    status: int
    headers: "Message[str, str]"
    body: bytes


class Transport:
    """HTTPS with a checked address, a verified certificate, bounded answers and a deadline.

    No proxies, no cookies, no redirects, no content codings. ``allow_networks`` are the non-public networks that may be
    reached; ``ca_file`` holds roots that are trusted beside the system's.
    """

    def __init__(
        self,
        *,
        allow_networks: Sequence[Network] = (),
        ca_file: Path | None = None,
        addresses: AddressResolver = system_addresses,
    ) -> None:
        self._allow_networks = tuple(allow_networks)
        self._look_up = AddressLookup(addresses)
        self._context = client_context(ca_file)
        self._context.sslsocket_class = _BoundedSocket

    def get(self, destinations: Sequence[Destination], target: str, deadline: Deadline) -> Response:
        """The answer to ``GET target``."""
        return self.request(destinations, "GET", target, deadline)

    def request(
        self,
        destinations: Sequence[Destination],
        method: str,
        target: str,
        deadline: Deadline,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Response:
        """The answer from the first destination that accepts a connection; none is asked twice.

        ``target`` is a path with an optional query, percent-encoded. Raises ``RequestFailed``.
        """
        destination, connection = self._connect(destinations, deadline)
        try:
            with connection, shut_down_at(deadline, connection):
                outcome: Response | Reason = _ask(connection, destination, method, target, body=body, headers=headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The error itself stays here: http.client quotes the target in its messages.
            outcome = reason_of(error)
        if isinstance(outcome, Reason):
            raise RequestFailed(outcome)
        return outcome

    def _connect(self, destinations: Sequence[Destination], deadline: Deadline) -> tuple[Destination, ssl.SSLSocket]:
        """The first connection that can be had; each destination gets its share of the time left."""
        failure = RequestFailed(Reason.UNREACHABLE, "no destination")
        for left, destination in countdown(destinations):
            share = Deadline.after(deadline.clock, min(CONNECT_TIMEOUT_S, _remaining_s(deadline)) / left)
            try:
                return destination, self._open(destination, share)
            except RequestFailed as error:
                failure = error
        if failure.reason is Reason.TIMEOUT and deadline.remaining_s() > 0:
            raise RequestFailed(Reason.UNREACHABLE, "no connection in time")
        raise failure

    def _open(self, destination: Destination, deadline: Deadline) -> ssl.SSLSocket:
        """Resolve, check, dial: the address that was checked is the one connected to, and one bad address spoils them all."""
        addresses = self._resolve(destination.host, deadline)
        for address in addresses:
            if not is_permitted(address, self._allow_networks):
                raise RequestFailed(Reason.BLOCKED, f"{address} is not a public address")
        failure = RequestFailed(Reason.UNRESOLVABLE, "no addresses")
        for left, address in countdown(addresses[:MAX_ADDRESSES]):
            share = Deadline.after(deadline.clock, _remaining_s(deadline) / left)
            try:
                return self._dial(address, destination, share)
            except OSError as error:
                failure = RequestFailed(reason_of(error), str(error))
        raise failure

    def _resolve(self, host: str, deadline: Deadline) -> list[IpAddress]:
        with suppress(ValueError):
            return [ip_address(host)]
        try:
            return [ip_address(text) for text in self._look_up(host, deadline)]
        except TimeoutError as error:
            raise RequestFailed(Reason.TIMEOUT, "resolving the name") from error
        except (OSError, ValueError) as error:
            raise RequestFailed(Reason.UNRESOLVABLE, str(error)) from error

    def _dial(self, address: IpAddress, destination: Destination, deadline: Deadline) -> ssl.SSLSocket:
        """A connection to ``address`` on which the certificate for the destination's name has been verified."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - the protocol's name
        with socket.socket(family, socket.SOCK_STREAM) as plain:
            plain.settimeout(_remaining_s(deadline))
            plain.connect((str(address), destination.port))
            plain.settimeout(_remaining_s(deadline))
            # The handshake as a whole keeps to the timeout. What it returns owns the connection; ``plain`` is left empty.
            return self._context.wrap_socket(plain, server_hostname=destination.tls_name)


class _BoundedSocket(ssl.SSLSocket):
    """A TLS connection that gives up on a server which sends more than any answer needs."""

    _received_bytes = 0

    def recv_into(self, *args: Any, **options: Any) -> int:
        count = super().recv_into(*args, **options)
        self._received_bytes += count
        if self._received_bytes > MAX_RECEIVED_BYTES:
            raise RequestFailed(Reason.TOO_LARGE, f"more than {MAX_RECEIVED_BYTES} bytes")
        return count


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verified TLS with the system's roots, and those in ``ca_file``; ``OSError`` where that file cannot be used."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


def _ask(
    connection: ssl.SSLSocket,
    destination: Destination,
    method: str,
    target: str,
    *,
    body: bytes | None,
    headers: Mapping[str, str],
) -> Response:
    # http.client on its own: urllib3 adds a warning that logs the whole URL, token included, when headers are odd.
    exchange = http.client.HTTPConnection(destination.host, destination.port)
    exchange.sock = connection
    exchange.request(
        method,
        target,
        body=body,
        headers={
            **headers,
            "Host": destination.host_header,
            "User-Agent": f"sydent_py/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
        },
    )
    with exchange.getresponse() as answer:
        if answer.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
            raise RequestFailed(Reason.MALFORMED, "an encoded body, though none was accepted")
        body = answer.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise RequestFailed(Reason.TOO_LARGE, f"more than {MAX_BODY_BYTES} bytes")
        return Response(answer.status, answer.headers, body)


@contextmanager
def shut_down_at(deadline: Deadline, connection: socket.socket) -> Iterator[None]:
    """Cut the connection at the deadline, whatever the thread that reads it is waiting for; ``TimeoutError`` if so.

    A timeout of the socket starts anew with each byte that drips in, and OpenSSL may read for ever inside one call.
    """
    expired = Event()
    # A descriptor of its own, so that a late shutdown cannot hit another connection that was given the same number.
    double = socket.socket(fileno=os.dup(connection.fileno()))

    def shut_down() -> None:
        expired.set()
        with suppress(OSError):
            double.shutdown(socket.SHUT_RDWR)

    timer = Timer(deadline.remaining_s(), shut_down)
    timer.daemon = True
    timer.start()
    try:
        connection.settimeout(_remaining_s(deadline))
        yield
    finally:
        timer.cancel()
        timer.join()
        double.close()
        if expired.is_set():
            # Also after a success: a body that ends with the connection looks complete when we are the ones who cut it.
            raise TimeoutError


def reason_of(error: Exception) -> Reason:
    """What an exception of the standard library means."""
    if isinstance(error, TimeoutError):
        return Reason.TIMEOUT
    if isinstance(error, ssl.SSLError):
        return Reason.TLS
    return Reason.UNREACHABLE if isinstance(error, OSError) else Reason.MALFORMED


def _remaining_s(deadline: Deadline) -> float:
    remaining_s = deadline.remaining_s()
    if remaining_s <= 0:
        raise RequestFailed(Reason.TIMEOUT)
    return remaining_s


def countdown(items: Sequence[T]) -> Iterator[tuple[int, T]]:
    """Each item with the number of items left, itself included."""
    return zip(range(len(items), 0, -1), items, strict=True)


def _without_brackets(host: str) -> str:
    return host.removeprefix("[").removesuffix("]")
