"""What a server shows everybody of itself, so that two operators can make each other peers."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from canonicaljson import encode_canonical_json
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64, encode_base64

from sydent_py.errors import MatrixError
from sydent_py.federation.remote import Answered, NotThere
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.identifiers import ServerName
from sydent_py.replication.client import MAX_ANSWER_BYTES, OWN, Transport
from sydent_py.signing import FIRST_KEY_VERSION, Signer
from sydent_py.strict_json import parse_object
from sydent_py.tlog.checkpoint import Unsigned, open_checkpoint
from sydent_py.tlog.note import ED25519, MAX_NOTE_BYTES, VerifierKey
from sydent_py.tlog.text import Malformed

FIRST_KEY_ID = f"ed25519:{FIRST_KEY_VERSION}"
_KEY_ID = re.compile(r"ed25519:[A-Za-z0-9_.-]{1,100}", re.ASCII)
_KEY_BYTES = 32
_LOG = "/log"


class NoPeer(Exception):
    """The server cannot be made a peer; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """A server: its name, where it is, and its keys as the configuration has them."""

    name: str
    base_url: str
    verify_key: str
    log_key: str

    @property
    def fingerprints(self) -> dict[str, str]:
        """The SHA-256 of each key, as it stands in the configuration, in groups of four hexadecimal digits."""
        return {"verify_key": _fingerprint(self.verify_key), "log_key": _fingerprint(self.log_key)}


def introduce(transport: Transport, base_url: str, key_id: str | None) -> Introduction:
    """The server that answers, with the signing key ``key_id``, otherwise the one that it says it signs with.

    Raises ``NoPeer``, and ``RequestFailed`` where it does not answer as it should.
    """
    key = log_key(transport)
    name = _name(key)
    _check_checkpoint(transport, key)
    said = said_key_id(transport, name)
    wanted = key_id or said or FIRST_KEY_ID
    try:
        public_key = verify_key(transport, wanted)
    except NotThere as error:
        raise NoPeer(
            f"{name} has no signing key {wanted}. Its page at {base_url}/ shows which one it has; name it with --key-id."
        ) from error
    return Introduction(name, base_url, f"{wanted} {encode_base64(bytes(public_key))}", str(key))


def introduce_us(signer: Signer, log: VerifierKey, base_url: str) -> Introduction:
    """Our own server, as its peers' configuration has it."""
    return Introduction(signer.server_name, base_url, f"{signer.key_id} {signer.public_keys[0]}", str(log))


def log_key(transport: Transport) -> VerifierKey:
    """The key of its log; ``RequestFailed``."""
    try:
        key = VerifierKey.parse(transport.get(f"{OWN}/log/vkey", MAX_ANSWER_BYTES).decode().removesuffix("\n"))
    except (Malformed, UnicodeDecodeError) as error:
        raise RequestFailed(Reason.MALFORMED, "what it has for the key of its log is none") from error
    if key.algorithm != ED25519:
        raise RequestFailed(Reason.MALFORMED, "the key of its log is one for cosignatures")
    return key


def verify_key(transport: Transport, key_id: str) -> VerifyKey:
    """Its signing key of this name; ``NotThere``, ``RequestFailed``."""
    if _KEY_ID.fullmatch(key_id) is None:
        raise RequestFailed(Reason.MALFORMED, f"{key_id!r} is not the name of a key")
    answer = _object(transport.get(f"_matrix/identity/v2/pubkey/{quote(key_id, safe=':')}", MAX_ANSWER_BYTES))
    return _key(answer.get("public_key"))


def said_key_id(transport: Transport, name: str) -> str | None:
    """The name of the key it signs with, as it says itself and signs with that key.

    None where it does not say; another program may answer there, such as the homeserver of the same name.
    """
    try:
        answer = _object(transport.get("_matrix/key/v2/server", MAX_ANSWER_BYTES))
    except Answered:
        return None
    except RequestFailed as failure:
        if failure.reason is Reason.MALFORMED:
            return None
        raise
    keys = answer.get("verify_keys")
    if answer.get("server_name") != name or not isinstance(keys, dict) or len(keys) != 1:
        return None
    [(key_id, value)] = keys.items()
    is_named = _KEY_ID.fullmatch(key_id) is not None and isinstance(value, dict)
    return key_id if is_named and _is_signed(answer, name, key_id, value.get("key")) else None


def _is_signed(answer: Mapping[str, Any], name: str, key_id: str, encoded: Any) -> bool:
    content = {field: value for field, value in answer.items() if field not in {"signatures", "unsigned"}}
    try:
        signature = decode_base64(answer["signatures"][name][key_id])
        _key(encoded).verify(encode_canonical_json(content), signature)
    except (RequestFailed, CryptoError, KeyError, ValueError, TypeError, AttributeError):
        return False
    return True


def _key(encoded: Any) -> VerifyKey:
    try:
        key_bytes = decode_base64(encoded)
    except (ValueError, TypeError, AttributeError) as error:
        raise RequestFailed(Reason.MALFORMED, "its signing key is none") from error
    if len(key_bytes) != _KEY_BYTES:
        raise RequestFailed(Reason.MALFORMED, f"its signing key has {len(key_bytes)} bytes")
    return VerifyKey(key_bytes)


def _name(key: VerifierKey) -> str:
    try:
        return ServerName.parse(key.name.removesuffix(_LOG) if key.name.endswith(_LOG) else "").text
    except MatrixError as error:
        raise NoPeer(
            f"The log is named {key.name!r}, and that of a peer is named as its server, and /log: id.example.org/log."
        ) from error


def _check_checkpoint(transport: Transport, key: VerifierKey) -> None:
    try:
        open_checkpoint(transport.get(f"{OWN}/log/checkpoint", MAX_NOTE_BYTES), key)
    except (Malformed, Unsigned) as error:
        raise NoPeer(f"The log is not signed with the key that it shows: {error}.") from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except MatrixError as error:
        raise RequestFailed(Reason.MALFORMED, "no JSON object") from error


def _fingerprint(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return " ".join(digest[start : start + 4] for start in range(0, len(digest), 4))
