"""A reverse proxy on loopback that brings TLS, as the one in front of a public server does."""

import http.client
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


class TlsProxy:
    """Serves as ``localhost:PORT``, and passes every request on to ``backend_port`` with its path and headers as they came.

    ``down`` makes it refuse connections, and ``up`` serve again at the same port.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self.backend_port = 0
        self.port = 0
        self._server: _Server | None = None
        self.up()

    @property
    def name(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.name}"

    def up(self) -> None:
        assert self._server is None, "it is up"
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._server.proxy, self._server.tls = self, self._tls
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def down(self) -> None:
        assert self._server is not None, "it is down"
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self.down()


class _Server(socketserver.ThreadingTCPServer):
    # Threads are joined by server_close(): a test leaves none behind.
    daemon_threads = False
    allow_reuse_address = True
    request_queue_size = 64
    proxy: TlsProxy
    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the thread of the connection, so that a client which does not shake hands delays nobody else.
        request.settimeout(30)
        with self.tls.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """A client that hangs up has its reasons."""


class Handler(BaseHTTPRequestHandler):
    """One request a connection, so that nobody has one open while the proxy is down."""

    server: _Server

    def forward(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        backend = http.client.HTTPConnection("127.0.0.1", self.server.proxy.backend_port, timeout=30)
        try:
            # Not self.path, which has lost what looks odd in it: signatures cover the target as it was sent.
            target = self.raw_requestline.split(b" ")[1].decode("latin-1")
            backend.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    backend.putheader(name, value)
            backend.putheader("X-Forwarded-For", self.client_address[0])
            backend.putheader("Connection", "close")
            backend.endheaders(body)
            answer = backend.getresponse()
            self._answer(answer.status, answer.reason, answer.getheaders(), answer.read())
        except OSError:
            self._answer(502, "Bad Gateway", [], b"")
        finally:
            backend.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = forward  # noqa: N815

    def _answer(self, status: int, reason: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status, reason)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # Twisted does not take it from HTTP/1.0
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Nothing: a test looks at what the server does."""
