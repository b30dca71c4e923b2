"""A homeserver as far as an identity server sees one: TLS, OpenID userinfo, published keys, onbind, delegation."""

import itertools
import json
import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from signedjson.key import encode_verify_key_base64, generate_signing_key, get_verify_key
from signedjson.sign import SignatureVerifyException, sign_json, verify_signed_json
from signedjson.types import SigningKey, VerifyKey

from tests.fakes.tls import CertificateAuthority

USERINFO = "/_matrix/federation/v1/openid/userinfo"
SERVER_KEYS = "/_matrix/key/v2/server"
ONBIND = "/_matrix/federation/v1/3pid/onbind"
WELL_KNOWN = "/.well-known/matrix/server"
DAY_MS = 86_400_000

Route = Callable[["Handler"], None]


@dataclass(frozen=True)
class Onbind:
    """A notification that came in."""

    method: str
    content: dict[str, Any]
    authorization: str | None

    def is_signed_by(self, origin: str, verify_key: VerifyKey, destination: str) -> bool:
        """As the specification has a homeserver check it."""
        header = dict(re.findall(r'(\w+)="([^"]*)"', self.authorization or ""))
        signed = {
            "method": self.method,
            "uri": ONBIND,
            "origin": header.get("origin"),
            "destination": header.get("destination"),
            "content": self.content,
            "signatures": {origin: {header.get("key"): header.get("sig")}},
        }
        try:
            verify_signed_json(signed, origin, verify_key)
        except SignatureVerifyException:
            return False
        return (header["origin"], header["destination"]) == (origin, destination)


class FakeHomeserver:
    """Serves on loopback; its name is ``localhost:PORT`` unless another one is given.

    ``routes`` maps a path, or a method and a path (``PUT /path``), to what answers it, so that a test can make one of
    them misbehave; ``requests`` are the targets and headers that came in, ``onbinds`` the notifications, whatever they
    were answered, and ``tokens`` the user behind each OpenID token. Like Synapse, it knows onbind with POST alone.
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
        self.old_signing_keys: list[SigningKey] = []
        self.stopped = threading.Event()
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.tokens: dict[str, str] = {}
        self.onbinds: list[Onbind] = []
        self.routes: dict[str, Route] = {
            USERINFO: _userinfo,
            SERVER_KEYS: _server_keys,
            f"PUT {ONBIND}": unrecognized_method,
            f"POST {ONBIND}": answer("{}"),
        }

    def openid_token(self, localpart: str) -> dict[str, Any]:
        """What a client posts to ``/account/register`` (Client-Server API, "OpenID")."""
        token = f"openid-{localpart}-{next(self._numbers)}"
        self.tokens[token] = f"@{localpart}:{self.name}"
        return {"access_token": token, "token_type": "Bearer", "matrix_server_name": self.name, "expires_in": 3600}

    def rotate_key(self, version: str) -> None:
        """Sign with another key from now on."""
        self.old_signing_keys.append(self.signing_key)
        self.signing_key = generate_signing_key(version)

    def sign(self, method: str, uri: str, content: dict[str, Any] | None, destination: str, **options: Any) -> str:
        """The Authorization header of a request this homeserver sends; ``options`` are those of ``x_matrix``."""
        request = {"method": method, "uri": uri, "content": content, "destination": destination}
        return x_matrix(self.signing_key, self.name, **request, **options)

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

    def do_GET(self) -> None:
        self._route(_unrecognized)

    def do_PUT(self) -> None:
        self._receive()

    def do_POST(self) -> None:
        self._receive()

    def _receive(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == ONBIND:
            onbind = Onbind(self.command, json.loads(body), self.headers.get("Authorization"))
            self.server.homeserver.onbinds.append(onbind)
        self._route(_request_openid_token)

    def _route(self, otherwise: Route) -> None:
        homeserver = self.server.homeserver
        homeserver.requests.append((self.path, self.headers))
        path = urlsplit(self.path).path
        route = homeserver.routes.get(f"{self.command} {path}") or homeserver.routes.get(path) or otherwise
        route(self)

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


def x_matrix(
    key: SigningKey,
    origin: str,
    *,
    method: str,
    uri: str,
    content: dict[str, Any] | None,
    destination: str,
    member: str = "destination_is",
    names_destination: bool = True,
) -> str:
    """A signed request's Authorization header.

    ``member`` is what the signed object calls the destination: ``destination_is`` in Synapse's unbind, ``destination`` in
    the specification. Servers older than the specification's 1.3 name no destination in the header.
    """
    request = {"method": method, "uri": uri, "origin": origin, member: destination}
    if content is not None:
        request["content"] = content
    [(key_id, signature)] = sign_json(request, origin, key)["signatures"][origin].items()
    header = f'X-Matrix origin="{origin}",key="{key_id}",sig="{signature}"'
    return f'{header},destination="{destination}"' if names_destination else header


def key_document(name: str, key: SigningKey, old_keys: Iterable[SigningKey], valid_until_ts: int) -> dict[str, Any]:
    """What a server publishes at ``/_matrix/key/v2/server``."""
    content = {
        "server_name": name,
        "verify_keys": {f"ed25519:{key.version}": {"key": encode_verify_key_base64(get_verify_key(key))}},
        "old_verify_keys": {
            f"ed25519:{old.version}": {"key": encode_verify_key_base64(get_verify_key(old)), "expired_ts": 1}
            for old in old_keys
        },
        "valid_until_ts": valid_until_ts,
    }
    return sign_json(content, name, key)


def unsigned_only(handler: Handler) -> None:
    """A route of a homeserver that cannot reach the keys of whoever signs."""
    if "Authorization" in handler.headers:
        handler.send_json(401, {"errcode": "M_UNAUTHORIZED", "error": "Failed to find any key to satisfy"})
    else:
        handler.send_json(200, {})


def unrecognized_method(handler: Handler) -> None:
    """A route of a path that is known with another method."""
    handler.send_json(405, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"})


def _request_openid_token(handler: Handler) -> None:
    """What a client asks its homeserver for: ``POST /user/{userId}/openid/request_token``, with its user as its token."""
    user_id = handler.headers.get("Authorization", "").removeprefix("Bearer ")
    if unquote(handler.path) != f"/_matrix/client/v3/user/{user_id}/openid/request_token":
        _unrecognized(handler)
        return
    handler.send_json(200, handler.server.homeserver.openid_token(user_id[1:].partition(":")[0]))


def _userinfo(handler: Handler) -> None:
    tokens = parse_qs(urlsplit(handler.path).query).get("access_token", [""])
    user_id = handler.server.homeserver.tokens.get(tokens[0])
    if user_id is None:
        handler.send_json(401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Access Token unknown or expired"})
    else:
        handler.send_json(200, {"sub": user_id})


def _server_keys(handler: Handler) -> None:
    homeserver = handler.server.homeserver
    valid_until_ts = int(time.time()) * 1000 + DAY_MS
    old_keys = homeserver.old_signing_keys
    handler.send_json(200, key_document(homeserver.name, homeserver.signing_key, old_keys, valid_until_ts))


def _unrecognized(handler: Handler) -> None:
    handler.send_json(404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"})
