"""Homeservers without a network: who a token belongs to is written in the token."""

from collections.abc import Mapping
from typing import Any

from signedjson.key import generate_signing_key
from signedjson.types import SigningKey

from sydent_py.errors import Unauthorized
from sydent_py.federation.client import Refused
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.identifiers import ServerName, UserId
from tests.fakes.clock import FakeClock
from tests.fakes.homeserver import DAY_MS, key_document, x_matrix


class FakeHomeservers:
    """``@alice:hs.test`` is its own OpenID token; ``down.test`` is not there, and ``slow.test`` fails after 3.5 seconds.

    A test adds names to ``down``, and final refusals of ``onbind`` to ``refusing``: ``{"hs.test": (403, "M_FORBIDDEN")}``.
    ``onbinds`` are the notifications that were tried, ``key_requests`` the servers that were asked for keys. Every name
    has a signing key of its own, made when it is first needed.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._keys: dict[str, list[SigningKey]] = {}
        self.down: set[str] = {"down.test"}
        self.refusing: dict[str, tuple[int, str]] = {}
        self.onbinds: list[tuple[str, dict[str, Any]]] = []
        self.key_requests: list[str] = []
        self.key_lifetime_ms = DAY_MS

    def userinfo(self, server: ServerName, access_token: str) -> UserId:
        self._reach(server)
        if not access_token.startswith("@"):
            raise Unauthorized
        return UserId.parse(access_token)

    def onbind(self, server: ServerName, content: Mapping[str, Any], *, signed: bool) -> None:  # noqa: ARG002 - as it is asked
        self.onbinds.append((server.text, dict(content)))
        self._reach(server)
        if server.text in self.refusing:
            raise Refused(*self.refusing[server.text])

    def server_keys(self, server: ServerName) -> dict[str, Any]:
        self.key_requests.append(server.text)
        self._reach(server)
        *old_keys, key = self._keys_of(server.text)
        return key_document(server.text, key, old_keys, self._clock.now_ms() + self.key_lifetime_ms)

    def sign(
        self, server_name: str, method: str, uri: str, content: dict[str, Any] | None, destination: str, **options: Any
    ) -> str:
        """The Authorization header of a request ``server_name`` sends, as Synapse writes it; ``options``: ``x_matrix``."""
        request = {"method": method, "uri": uri, "content": content, "destination": destination}
        return x_matrix(self._keys_of(server_name)[-1], server_name, **request, **options)

    def rotate_key(self, server_name: str) -> None:
        """Let ``server_name`` sign with another key from now on."""
        keys = self._keys_of(server_name)
        keys.append(generate_signing_key(f"k{len(keys)}"))

    def _keys_of(self, server_name: str) -> list[SigningKey]:
        return self._keys.setdefault(server_name, [generate_signing_key("k0")])

    def _reach(self, server: ServerName) -> None:
        if server.text == "slow.test":
            self._clock.advance(3.5)
            raise RequestFailed(Reason.TIMEOUT)
        if server.text in self.down:
            raise RequestFailed(Reason.UNREACHABLE)
