"""TLS on which both sides show a certificate, and a small HTTP server for those who are known by theirs."""

import json
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import structlog

from sydent_py.clock import Clock, Deadline
from sydent_py.errors import InvalidParam, MatrixError, TooLarge
from sydent_py.federation.remote import BaseUrl, Remote
from sydent_py.federation.transport import shut_down_at
from sydent_py.identifiers import ServerName

MAX_BODY_BYTES = 1024 * 1024
# A body that is refused is read up to here, because who is still sending does not hear why.
MAX_READ_OVER_BYTES = 8 * MAX_BODY_BYTES
MAX_LINE_BYTES = 8190
# Strangers get no further than the handshake.
HANDSHAKE_TIMEOUT_S = 5.0
# From the end of the handshake to the last byte of the answer.
EXCHANGE_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 32
MAX_CONNECTIONS_OF_ONE = 8
LISTEN_AGAIN_AFTER_S = 5.0
_LOOK_UP_EVERY_S = 0.25

_LENGTH = re.compile(r"[0-9]{1,12}", re.ASCII)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Identity:
    """Our certificate with its key, in PEM files, and the roots that those of the other side come from; None: the system's."""

    certificate_file: Path
    key_file: Path
    ca_file: Path | None

    def server_context(self) -> ssl.SSLContext:
        """For a server whose clients have to show a certificate; ``OSError`` where a file cannot be used."""
        context = self._of(ssl.PROTOCOL_TLS_SERVER, ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = ssl.CERT_REQUIRED
        # A session that is resumed saves nothing here, and shows no certificate anew.
        context.num_tickets = 0
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that shows its certificate, and verifies the server's and its host name; ``OSError``."""
        context = self._of(ssl.PROTOCOL_TLS_CLIENT, ssl.Purpose.SERVER_AUTH)
        context.hostname_checks_common_name = False
        return context

    def _of(self, protocol: int, purpose: ssl.Purpose) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # With no password, a key that needs one is an error; it would be asked for on the terminal.
        context.load_cert_chain(self.certificate_file, self.key_file, password="")
        if self.ca_file is None:
            context.load_default_certs(purpose)
        else:
            context.load_verify_locations(cafile=self.ca_file)
        return context


class MutualTlsRemote(Remote):
    """Asks a server that wants to see our certificate."""

    def __init__(self, url: BaseUrl, clock: Clock, context: ssl.SSLContext) -> None:
        super().__init__(url, clock)
        self._context = context


@dataclass(frozen=True)
class Received:
    """A request. ``common_name`` is that of the client's certificate, None where it has not exactly one."""

    common_name: str | None
    method: str
    path: str
    body: bytes


Answer = Callable[[Received], tuple[int, dict[str, Any]]]


class Listener:
    """Answers HTTPS requests of clients with a certificate, one a connection, on threads that are few.

    A port that cannot be had is tried again until it can. Several processes of one user may listen on it: each request reaches one.
    """

    def __init__(self, bind: str, context: ssl.SSLContext, answer: Answer, clock: Clock) -> None:
        self.bind = bind
        self._name = ServerName.parse(bind)
        self._context = context
        self._answer = answer
        self._clock = clock
        self._connections: Counter[str] = Counter()
        self._lock = Lock()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen meanwhile."""
        stop = Event()
        thread = Thread(target=self._listen, args=(stop,), name="mutual_tls", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _listen(self, stop: Event) -> None:
        while not stop.is_set():
            try:
                with closing(self._open()) as listener:
                    log.info("mutual_tls.listening", bind=self.bind)
                    self._accept(listener, stop)
            except OSError as error:
                log.error("mutual_tls.not_listening", bind=self.bind, error=str(error))  # noqa: TRY400 - it says enough
                stop.wait(LISTEN_AGAIN_AFTER_S)

    def _open(self) -> socket.socket:
        host = self._name.host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        dual = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(
            (host, self._name.port or 0), family=family, backlog=64, reuse_port=True, dualstack_ipv6=dual
        )
        listener.settimeout(_LOOK_UP_EVERY_S)
        return listener

    def _accept(self, listener: socket.socket, stop: Event) -> None:
        while not stop.is_set():
            try:
                connection, (client, *_) = listener.accept()
            except TimeoutError:
                continue
            if self._enter(client):
                # A daemon, because a process that stops does not wait for whoever is slow.
                Thread(target=self._serve, args=(connection, client), name="mutual_tls", daemon=True).start()
            else:
                log.warning("mutual_tls.too_many_connections", client=client)
                connection.close()

    def _enter(self, client: str) -> bool:
        with self._lock:
            if self._connections.total() >= MAX_CONNECTIONS or self._connections[client] >= MAX_CONNECTIONS_OF_ONE:
                return False
            self._connections[client] += 1
            return True

    def _leave(self, client: str) -> None:
        with self._lock:
            self._connections[client] -= 1
            self._connections += Counter()  # those who have left are forgotten

    def _serve(self, plain: socket.socket, client: str) -> None:
        try:
            with plain:
                plain.settimeout(HANDSHAKE_TIMEOUT_S)
                with self._context.wrap_socket(plain, server_side=True) as connection:
                    self._exchange(connection, client)
        except (OSError, ValueError) as error:
            reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__
            log.warning("mutual_tls.connection_failed", client=client, reason=str(reason))
        finally:
            self._leave(client)

    def _exchange(self, connection: ssl.SSLSocket, client: str) -> None:
        name = common_name(connection.getpeercert() or {})
        with shut_down_at(Deadline.after(self._clock, EXCHANGE_TIMEOUT_S), connection):
            _Exchange(connection, client, name, self._answer)


def common_name(certificate: Any) -> str | None:
    """The one common name of the subject of a certificate, as ``getpeercert`` gives it; None where there is not exactly one."""
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else None


class _Exchange(BaseHTTPRequestHandler):
    """Reads one request, and answers it."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: ssl.SSLSocket, client: str, name: str | None, answer: Answer) -> None:
        self._name = name
        self._answer = answer
        # The base class reads and answers while it is made, and has no use for a server.
        super().__init__(connection, (client, 0), None)  # type: ignore[arg-type]

    def handle(self) -> None:
        """Read and answer, whatever it is."""
        self.close_connection, self.requestline, self.request_version, self.command = True, "", "", ""
        self.raw_requestline = self.rfile.readline(MAX_LINE_BYTES + 1)
        if len(self.raw_requestline) > MAX_LINE_BYTES:
            self._refuse(TooLarge("The request URL is too long.", status=414))
        elif self.raw_requestline and self.parse_request():
            try:
                body = self._body()
            except MatrixError as refusal:
                self._refuse(refusal)
                return
            path = self.path.partition("?")[0]
            self._send(*self._answer(Received(self._name, self.command, path, body)))

    def _body(self) -> bytes:
        # Where a request is cut off among its headers, they look complete; what a body needs is then missing.
        lengths = self.headers.get_all("Content-Length", ["0"] if self.command == "GET" else [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
            raise InvalidParam("The request needs one Content-Length, and no Transfer-Encoding.", status=411)
        length = int(lengths[0])
        if length > MAX_BODY_BYTES:
            self._read_over(min(length, MAX_READ_OVER_BYTES))
            raise TooLarge
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError
        return body

    def _read_over(self, length: int) -> None:
        while length > 0 and (read := len(self.rfile.read(min(length, MAX_BODY_BYTES)))):
            length -= read

    def send_error(self, code: int, _message: str | None = None, _explain: str | None = None) -> None:
        """Called by the base class for what is not HTTP."""
        too_large = code in {414, 431}
        self._refuse(
            TooLarge("The request headers are too large.", status=code)
            if too_large
            else InvalidParam("This is not HTTP/1.1.")
        )

    def _refuse(self, refusal: MatrixError) -> None:
        self._send(refusal.status, refusal.to_json())

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        # Where the base class could not read it, it would leave out the headers.
        self.request_version = self.protocol_version
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: what matters is logged by whoever answers."""
