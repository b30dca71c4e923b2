"""What a user says of their keys: one statement, signed with a master key; with no I/O."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import nacl.signing
from nacl.exceptions import CryptoError

from sydent_py.keys import canonical
from sydent_py.keys.canonical import NotCanonical

TYPE = "sydent_py.keys.v1"
MAX_BYTES = 4096
# What holds a statement, such as a page of payloads for a peer, must itself not be nested too deeply to be read.
MAX_DEPTH = 16
MAX_USER_ID_BYTES = 255
MAX_LOG_NAME_BYTES = 300

PUBLISH = "publish"
ROTATE = "rotate"
RESET = "reset"
CANCEL = "cancel"
REVOKE = "revoke"
OPS = (PUBLISH, ROTATE, RESET, CANCEL, REVOKE)

KEY_BYTES = 32
HASH_BYTES = 32
SIGNATURE_BYTES = 64
_ALGORITHM = "ed25519"
_MEMBERS = {"type", "log", "user_id", "seq", "prev", "op", "ts", "nonce", "keys", "signatures"}
_KINDS_OF_KEYS = {"master", "self_signing", "curve25519", "application"}
_NONCE = re.compile(r"[A-Za-z0-9_-]{0,64}")
_APPLICATION = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_FINGERPRINT = re.compile(r"[ -~]{1,1024}")
MAX_APPLICATIONS = 16
MAX_CURVE_KEYS = 16


class Malformed(ValueError):
    """It is no statement; the message says why."""


class NotSigned(ValueError):
    """A signature that the statement needs is missing or wrong; the message says which."""


@dataclass(frozen=True)
class Statement:
    """A statement, checked for its form but for no signature.

    ``encoded`` is its canonical JSON with the signatures. ``prev`` is the SHA-256 hash of the statement before it, None for the
    first. ``master`` is the public master key; ``signatures`` are those of ``user_id``, by public key. ``ts`` is the user's clock, in ms.
    """

    encoded: bytes
    log: str
    user_id: str
    seq: int
    prev: bytes | None
    op: str
    ts: int
    nonce: str
    keys: Mapping[str, Any]
    master: bytes
    signatures: Mapping[bytes, bytes]
    message: bytes

    @classmethod
    def parse(cls, value: Any) -> "Statement":
        """The statement in a JSON object; ``Malformed`` for everything that is none, down to the last member."""
        if not isinstance(value, dict) or value.get("type") != TYPE:
            raise Malformed(f'a statement is an object with "type": "{TYPE}"')
        if set(value) != _MEMBERS:
            odd = ", ".join(sorted(str(name) for name in _MEMBERS.symmetric_difference(value)))
            raise Malformed(f"a statement has no more and no less than its members: look at {odd[:200]}")
        try:
            encoded = canonical.encode(value, MAX_DEPTH)
            message = canonical.encode({name: item for name, item in value.items() if name != "signatures"})
        except NotCanonical as error:
            raise Malformed(f"a statement is canonical JSON: {error}") from error
        if len(encoded) > MAX_BYTES:
            raise Malformed(f"a statement has at most {MAX_BYTES} bytes of canonical JSON, and this one has {len(encoded)}")
        user_id, seq = _text(value, "user_id", MAX_USER_ID_BYTES), _integer(value, "seq")
        keys = value["keys"]
        master = _check_keys(keys, user_id)
        return cls(
            encoded=encoded,
            log=_text(value, "log", MAX_LOG_NAME_BYTES),
            user_id=user_id,
            seq=seq,
            prev=_prev(value["prev"], seq),
            op=_op(value["op"]),
            ts=_integer(value, "ts"),
            nonce=_nonce(value["nonce"]),
            keys=keys,
            master=master,
            signatures=_signatures(value["signatures"], user_id),
            message=message,
        )

    @cached_property
    def hash(self) -> bytes:
        """What the next statement names as ``prev``."""
        return hashlib.sha256(self.encoded).digest()

    @cached_property
    def encoded_keys(self) -> bytes:
        """The keys, to be compared: in Python 1 and true are equal."""
        return canonical.encode(dict(self.keys))

    def require_signatures(self, *masters: bytes) -> None:
        """``NotSigned`` unless these master keys have signed, and nobody else."""
        if set(self.signatures) != set(masters):
            wanted = " and ".join(canonical.encode_base64(key) for key in dict.fromkeys(masters))
            raise NotSigned(f"it must be signed with exactly these master keys: {wanted}")
        for key, signature in self.signatures.items():
            if not verifies(key, self.message, signature):
                raise NotSigned(f"the signature of {canonical.encode_base64(key)} is not valid")


def verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the Ed25519 signature of ``message``."""
    try:
        nacl.signing.VerifyKey(public_key).verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True


def key_id(public_key: bytes) -> str:
    """How a cross-signing key is named: by itself."""
    return f"{_ALGORITHM}:{canonical.encode_base64(public_key)}"


def cross_signing_key(key: Any, usage: str, user_id: str) -> bytes:
    """The public key in a user's cross-signing key, as ``/keys/query`` has it (Client-Server API, "Cross-signing"); ``Malformed``."""
    if not isinstance(key, dict) or key.get("user_id") != user_id or key.get("usage") != [usage]:
        raise Malformed(f"keys.{usage}: a cross-signing key of this user with this usage")
    keys = key.get("keys")
    if not isinstance(keys, dict) or len(keys) != 1:
        raise Malformed(f"keys.{usage}: exactly one public key")
    [(name, encoded)] = keys.items()
    public_key = canonical.decode_base64(encoded, KEY_BYTES)
    if public_key is None or name != key_id(public_key):
        raise Malformed(f"keys.{usage}: an Ed25519 key of 32 bytes in unpadded base64, named ed25519:<itself>")
    return public_key


def _text(value: Mapping[str, Any], name: str, limit: int) -> str:
    text = value[name]
    if not isinstance(text, str) or not 0 < len(text.encode()) <= limit:
        raise Malformed(f"{name}: a string of at most {limit} bytes")
    return text


def _integer(value: Mapping[str, Any], name: str) -> int:
    number = value[name]
    if type(number) is not int or number < 0 or (name == "seq" and not number):
        raise Malformed(f"{name}: {'an integer from 1 on' if name == 'seq' else 'a time in ms since the epoch'}")
    return number


def _op(op: Any) -> str:
    if not isinstance(op, str) or op not in OPS:
        raise Malformed(f"op: one of {', '.join(OPS)}")
    return op


def _nonce(nonce: Any) -> str:
    if not isinstance(nonce, str) or _NONCE.fullmatch(nonce) is None:
        raise Malformed("nonce: the challenge that the server gave")
    return nonce


def _prev(prev: Any, seq: int) -> bytes | None:
    if seq == 1:
        if prev is not None:
            raise Malformed("prev: null in the first statement")
        return None
    digest = canonical.decode_base64(prev, HASH_BYTES)
    if digest is None:
        raise Malformed("prev: the SHA-256 hash of the statement before it, in unpadded base64")
    return digest


def _check_keys(keys: Any, user_id: str) -> bytes:
    """The master key; ``Malformed`` where any of the keys is not as it must be."""
    if not isinstance(keys, dict) or "master" not in keys or not set(keys) <= _KINDS_OF_KEYS:
        raise Malformed("keys: an object with master, and perhaps self_signing, curve25519 and application")
    master = cross_signing_key(keys["master"], "master", user_id)
    if "self_signing" in keys:
        cross_signing_key(keys["self_signing"], "self_signing", user_id)
        if not _is_signed(keys["self_signing"], user_id, master):
            raise Malformed("keys.self_signing: it is not signed with the master key")
    curve_keys = keys.get("curve25519", {})
    if not isinstance(curve_keys, dict) or len(curve_keys) > MAX_CURVE_KEYS:
        raise Malformed(f"keys.curve25519: an object of at most {MAX_CURVE_KEYS} keys by name")
    if any(canonical.decode_base64(key, KEY_BYTES) is None for key in curve_keys.values()):
        raise Malformed("keys.curve25519: each is 32 bytes in unpadded base64")
    applications = keys.get("application", {})
    if not isinstance(applications, dict) or len(applications) > MAX_APPLICATIONS:
        raise Malformed(f"keys.application: an object of at most {MAX_APPLICATIONS} fingerprints by name")
    for name, fingerprint in applications.items():
        if (
            _APPLICATION.fullmatch(name) is None
            or not isinstance(fingerprint, str)
            or not _FINGERPRINT.fullmatch(fingerprint)
        ):
            raise Malformed('keys.application: names as "openpgp" or "ssh", fingerprints of printable ASCII')
    return master


def _is_signed(key: Mapping[str, Any], user_id: str, master: bytes) -> bool:
    signatures = key.get("signatures")
    by_user = signatures.get(user_id) if isinstance(signatures, dict) else None
    signature = canonical.decode_base64(by_user.get(key_id(master)), SIGNATURE_BYTES) if isinstance(by_user, dict) else None
    signed = {name: value for name, value in key.items() if name not in {"signatures", "unsigned"}}
    return signature is not None and verifies(master, canonical.encode(signed), signature)


def _signatures(value: Any, user_id: str) -> dict[bytes, bytes]:
    by_user = value.get(user_id) if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(by_user, dict) or not 0 < len(by_user) <= 2:  # noqa: PLR2004 - the old master key and the new one
        raise Malformed("signatures: those of the user, with one or two master keys")
    signatures = {}
    for name, encoded in by_user.items():
        algorithm, _, key = name.partition(":")
        public_key = canonical.decode_base64(key, KEY_BYTES)
        signature = canonical.decode_base64(encoded, SIGNATURE_BYTES)
        if algorithm != _ALGORITHM or public_key is None or signature is None:
            raise Malformed("signatures: Ed25519, each under the name ed25519:<master key>, in unpadded base64")
        signatures[public_key] = signature
    return signatures
