"""Somebody who has a master key, and states what they will with it."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from canonicaljson import encode_canonical_json
from nacl.signing import SigningKey
from unpaddedbase64 import encode_base64

DAY_MS = 86_400_000


def master_key(name: str) -> SigningKey:
    """The same key for the same name."""
    return SigningKey(hashlib.sha256(name.encode()).digest())


def public(key: SigningKey) -> str:
    return encode_base64(bytes(key.verify_key))


def cross_signing_key(user_id: str, key: SigningKey, usage: str = "master") -> dict[str, Any]:
    """A key as a client uploads it to its homeserver."""
    return {"user_id": user_id, "usage": [usage], "keys": {f"ed25519:{public(key)}": public(key)}}


def signed(content: dict[str, Any], user_id: str, *signers: SigningKey) -> dict[str, Any]:
    message = encode_canonical_json(content)
    made = {f"ed25519:{public(key)}": encode_base64(key.sign(message).signature) for key in signers}
    return {**content, "signatures": {user_id: made}}


def digest(statement: dict[str, Any]) -> str:
    return encode_base64(hashlib.sha256(encode_canonical_json(statement)).digest())


@dataclass
class KeyOwner:
    """Makes the statements of one user in one log, one after the other."""

    user_id: str
    log: str = "id.test/log"
    made: list[dict[str, Any]] = field(default_factory=list)

    def state(
        self, op: str, master: SigningKey, *signers: SigningKey, ts: int, nonce: str = "", **changes: Any
    ) -> dict[str, Any]:
        """The next statement, signed with ``signers``, or with the master key itself; ``changes`` are to its members."""
        content: dict[str, Any] = {
            "type": "sydent_py.keys.v1",
            "log": self.log,
            "user_id": self.user_id,
            "seq": len(self.made) + 1,
            "prev": digest(self.made[-1]) if self.made else None,
            "op": op,
            "ts": ts,
            "nonce": nonce,
            "keys": {"master": cross_signing_key(self.user_id, master)},
        }
        return signed({**content, **changes}, self.user_id, *(signers or (master,)))
