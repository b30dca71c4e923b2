"""A homeserver as far as an identity server sees one: TLS, OpenID userinfo, published keys, delegation."""

import itertools
import json
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from signedjson.key import encode_verify_key_base64, generate_signing_key, get_verify_key
from signedjson.sign import sign_json

from tests.fakes.tls import CertificateAuthority

USERINFO = "/_matrix/federation/v1/openid/userinfo"
SERVER_KEYS = "/_matrix/key/v2/server"
WELL_KNOWN = "/.well-known/matrix/server"

Route = Callable[["Handler"], None]


class FakeHomeserver:
    """Serves on loopback; its name is ``localhost:PORT`` unless another one is given.

    ``routes`` maps a path to what answers it, so that a test can make one of them misbehave; ``requests`` are the
    request lines and headers that came in, and ``tokens`` the user behind each OpenID token.
    """

    def __init__(
        self,
        authority: CertificateAuthority,
        name: str = "",
        *,
        certificate_for: tuple[str, ...] = ("localhost", "127.0.0.1"),
        address: str = "127.0.0.1",
    ) -> None:
        self._server = _Server((address, 0), Handler)
        self._server.homeserver = self
        self._server.tls = authority.server_context(*certificate_for)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._numbers = itertools.count(1)
        self.port: int = self._server.server_address[1]
        self.name = name or f"localhost:{self.port}"
        self.signing_key = generate_signing_key("fake")
        self.stopped = threading.Event()
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.tokens: dict[str, str] = {}
        self.routes: dict[str, Route] = {USERINFO: _userinfo, SERVER_KEYS: _server_keys}

    def openid_token(self, localpart: str) -> dict[str, Any]:
        """What a client posts to ``/account/register`` (Client-Server API, "OpenID")."""
        token = f"openid-{localpart}-{next(self._numbers)}"
        self.tokens[token] = f"@{localpart}:{self.name}"
        return {"access_token": token, "token_type": "Bearer", "matrix_server_name": self.name, "expires_in": 3600}

    def delegate_to(self, server_name: str) -> None:
        """Publish ``/.well-known/matrix/server``."""
        self.routes[WELL_KNOWN] = answer(json.dumps({"m.server": server_name}))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    # Threads are joined by server_close(): a test leaves none behind.
    daemon_threads = False
    allow_reuse_address = True
    homeserver: FakeHomeserver
    tls: Any

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the thread of the connection, so that a client which does not shake hands delays nobody else.
        request.settimeout(5)
        with self.tls.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """A client that refuses the certificate or hangs up is what many tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """What a client asks its homeserver for: ``POST /user/{userId}/openid/request_token``, with its user as its token."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        user_id = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if unquote(self.path) != f"/_matrix/client/v3/user/{user_id}/openid/request_token":
            _unrecognized(self)
            return
        self.send_json(200, self.server.homeserver.openid_token(user_id[1:].partition(":")[0]))

    def do_GET(self) -> None:
        homeserver = self.server.homeserver
        homeserver.requests.append((self.path, self.headers))
        homeserver.routes.get(urlsplit(self.path).path, _unrecognized)(self)

    def send_json(self, status: int, content: dict[str, Any]) -> None:
        answer(json.dumps(content), status=status, headers={"Content-Type": "application/json"})(self)

    def log_message(self, *_args: Any) -> None:
        """Nothing: a test looks at ``requests``."""


def answer(body: str | bytes, *, status: int = 200, headers: Mapping[str, str] = {}) -> Route:
    """A route that gives this answer."""
    content = body.encode() if isinstance(body, str) else body

    def respond(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return respond


def redirect(location: str, status: int = 302) -> Route:
    """A route that sends the client elsewhere."""
    return answer(b"", status=status, headers={"Location": location})


def raw(wire: bytes) -> Route:
    """A route that writes exactly these bytes and closes the connection."""

    def respond(handler: Handler) -> None:
        handler.wfile.write(wire)
        handler.close_connection = True

    return respond


def drip(wire: bytes, first: bytes = b"", every_s: float = 0.05) -> Route:
    """A route that writes ``first``, then one byte of ``wire`` at a time, over and over."""

    def respond(handler: Handler) -> None:
        handler.wfile.write(first)
        for byte in itertools.cycle(wire):
            if handler.server.homeserver.stopped.wait(every_s):
                break
            handler.wfile.write(bytes([byte]))
        handler.close_connection = True

    return respond


def hang(handler: Handler) -> None:
    """A route that never answers."""
    handler.server.homeserver.stopped.wait()
    handler.close_connection = True


def _userinfo(handler: Handler) -> None:
    tokens = parse_qs(urlsplit(handler.path).query).get("access_token", [""])
    user_id = handler.server.homeserver.tokens.get(tokens[0])
    if user_id is None:
        handler.send_json(401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Access Token unknown or expired"})
    else:
        handler.send_json(200, {"sub": user_id})


def _server_keys(handler: Handler) -> None:
    homeserver = handler.server.homeserver
    key = homeserver.signing_key
    content = {
        "server_name": homeserver.name,
        "verify_keys": {f"ed25519:{key.version}": {"key": encode_verify_key_base64(get_verify_key(key))}},
        "old_verify_keys": {},
        "valid_until_ts": (int(time.time()) + 86_400) * 1000,
    }
    handler.send_json(200, sign_json(content, homeserver.name, key))


def _unrecognized(handler: Handler) -> None:
    handler.send_json(404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"})
