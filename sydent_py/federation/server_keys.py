"""The signing keys of homeservers: fetched from themselves, verified, and remembered for as long as they say."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

from canonicaljson import encode_canonical_json
from nacl.signing import VerifyKey

from sydent_py.clock import Clock
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.federation.x_matrix import SIGNATURE_BYTES, decode_exactly, is_key_id, is_signature
from sydent_py.identifiers import ServerName

# The specification's bound: a server that was lost to somebody else is believed for a week at most.
MAX_LIFETIME_S = 7 * 24 * 60 * 60
# No server is asked more often than this, whatever key ids a stranger makes up: often enough to notice a new key at once.
ASK_AGAIN_S = 1.0
# Nor one that has just failed, because whoever asks would wait for it.
ASK_AGAIN_AFTER_FAILURE_S = 15.0
MAX_SERVERS = 1000
MAX_KEYS = 64

_KEY_BYTES = 32

Keys = Mapping[str, VerifyKey]


class Homeservers(Protocol):
    """Whom to ask for keys."""

    def server_keys(self, server: ServerName) -> dict[str, Any]:
        """The keys ``server`` publishes, as it published them; ``RequestFailed``."""


@dataclass(frozen=True, slots=True)
class _Document:
    keys: Keys
    expires_s: float


@dataclass(slots=True)
class _Server:
    """What is known about one server; whoever holds ``lock`` is asking it, and others may read meanwhile."""

    lock: Lock = field(default_factory=Lock)
    document: _Document = _Document({}, 0.0)
    asked_s: float | None = None
    failure: Reason | None = None

    def valid_keys(self, now_s: float) -> Keys:
        document = self.document
        return document.keys if now_s < document.expires_s else {}

    def was_asked(self, now_s: float) -> bool:
        """Whether it is too early to ask again."""
        pause_s = ASK_AGAIN_S if self.failure is None else ASK_AGAIN_AFTER_FAILURE_S
        return self.asked_s is not None and now_s < self.asked_s + pause_s


class ServerKeys:
    """Remembers the ``MAX_SERVERS`` servers that were needed last; threads share it."""

    def __init__(self, homeservers: Homeservers, clock: Clock) -> None:
        self._homeservers = homeservers
        self._clock = clock
        self._lock = Lock()
        self._servers: OrderedDict[str, _Server] = OrderedDict()

    def remembered(self, server: ServerName, key_ids: Collection[str]) -> Keys | None:
        """The keys of ``server``, if they have one of ``key_ids`` or were fetched just now; ``None``: it has to be asked."""
        with self._lock:
            known = self._servers.get(server.text)
            if known is None:
                return None
            self._servers.move_to_end(server.text)
        now_s = self._clock.monotonic_s()
        keys = known.valid_keys(now_s)
        if any(key_id in keys for key_id in key_ids):
            return keys
        return keys if keys and known.failure is None and known.was_asked(now_s) else None

    def fetch(self, server: ServerName) -> Keys:
        """The keys that ``server`` publishes now, or published a moment ago; ``RequestFailed``."""
        known = self._entry(server)
        with known.lock:
            now_s = self._clock.monotonic_s()
            if known.was_asked(now_s) and known.failure is not None:
                raise RequestFailed(known.failure, "a moment ago")
            if not known.was_asked(now_s) or not known.valid_keys(now_s):
                self._ask(server, known)
            return known.document.keys

    def _entry(self, server: ServerName) -> _Server:
        with self._lock:
            known = self._servers.setdefault(server.text, _Server())
            self._servers.move_to_end(server.text)
            while len(self._servers) > MAX_SERVERS:
                self._servers.popitem(last=False)
            return known

    def _ask(self, server: ServerName, known: _Server) -> None:
        """Replace what is known; keys that are still valid outlive a failure."""
        try:
            document = self._homeservers.server_keys(server)
            keys, valid_until_ts = read_keys(document, server, self._clock.now_ms())
        except RequestFailed as failure:
            known.failure = failure.reason
            raise
        else:
            lifetime_s = min(MAX_LIFETIME_S, (valid_until_ts - self._clock.now_ms()) / 1000)
            known.document, known.failure = _Document(keys, self._clock.monotonic_s() + lifetime_s), None
        finally:
            known.asked_s = self._clock.monotonic_s()


def read_keys(document: Mapping[str, Any], server: ServerName, now_ms: int) -> tuple[Keys, int]:
    """The keys in ``document`` that have signed it, by key id, and until when they are valid.

    ``old_verify_keys`` are none of them: what they signed in the past stays signed, but nobody signs a request with them.
    Raises ``RequestFailed`` where the document is not that of ``server``, has expired, or has no key left. Server-Server
    API, "Publishing Keys".
    """
    if document.get("server_name") != server.text:
        raise RequestFailed(Reason.MALFORMED, "the keys of another server")
    valid_until_ts = document.get("valid_until_ts")
    if type(valid_until_ts) is not int or valid_until_ts <= now_ms:
        raise RequestFailed(Reason.MALFORMED, "keys that have expired")
    published, signatures = document.get("verify_keys"), document.get("signatures")
    own_signatures = signatures.get(server.text) if isinstance(signatures, dict) else None
    if not isinstance(published, dict) or not isinstance(own_signatures, dict) or len(published) > MAX_KEYS:
        raise RequestFailed(Reason.MALFORMED, "no keys, no signatures, or too many keys")
    message = _signed_part(document)
    keys = {
        key_id: key
        for key_id, entry in published.items()
        if (key := _verify_key(key_id, entry)) is not None and _has_signed(key, message, own_signatures.get(key_id))
    }
    if not keys:
        raise RequestFailed(Reason.MALFORMED, "no key that has signed the document")
    return keys, valid_until_ts


def _signed_part(document: Mapping[str, Any]) -> bytes:
    signed = {name: value for name, value in document.items() if name not in {"signatures", "unsigned"}}
    try:
        return encode_canonical_json(signed)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestFailed(Reason.MALFORMED, "a document that cannot be signed") from error


def _verify_key(key_id: str, entry: Any) -> VerifyKey | None:
    encoded = entry.get("key") if isinstance(entry, dict) else None
    if not is_key_id(key_id) or not isinstance(encoded, str):
        return None
    try:
        return VerifyKey(decode_exactly(encoded, _KEY_BYTES))
    except ValueError:
        return None


def _has_signed(key: VerifyKey, message: bytes, signature: Any) -> bool:
    if not isinstance(signature, str):
        return False
    try:
        return is_signature(key, message, decode_exactly(signature, SIGNATURE_BYTES))
    except ValueError:
        return False
