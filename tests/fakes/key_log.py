"""A server's log with statements of keys in it, that shows whatever a test says: it signs all that it is told to."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from canonicaljson import encode_canonical_json
from nacl.signing import SigningKey as Ed25519Key
from unpaddedbase64 import encode_base64

from sydent_py.keys.entry import Pins
from sydent_py.log.leaf import Leaf, commit
from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.cosignature import WitnessKey
from sydent_py.tlog.note import Note, SigningKey
from sydent_py.tlog.proof import Proof

START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


@dataclass
class KeyLog:
    """The log of ``origin``. All its keys follow from names."""

    origin: str = "id.test"
    witnesses: tuple[WitnessKey, ...] = ()
    leaves: list[bytes] = field(default_factory=list)
    held: dict[int, dict[str, Any]] = field(default_factory=dict)
    cosigned_at_ms: int = START_MS

    @property
    def name(self) -> str:
        return f"{self.origin}/log"

    @property
    def key(self) -> SigningKey:
        return SigningKey(self.name, seed(f"log of {self.origin}"))

    @property
    def signing_key(self) -> Ed25519Key:
        return Ed25519Key(seed(f"signing key of {self.origin}"))

    @property
    def verify_key(self) -> str:
        return f"ed25519:0 {encode_base64(bytes(self.signing_key.verify_key))}"

    def pins(self, required: int | None = None, max_age_ms: int | None = None) -> Pins:
        witnesses = [str(each.verifier_key) for each in self.witnesses]
        return Pins.parse(str(self.key.verifier_key), [self.verify_key], witnesses, required, max_age_ms)

    def fork(self, shared: int) -> "KeyLog":
        """Another history that begins with the same entries."""
        held = {index: each for index, each in self.held.items() if index < shared}
        return KeyLog(self.origin, self.witnesses, self.leaves[:shared], held, self.cosigned_at_ms)

    def fill(self, count: int) -> None:
        """Entries about something else."""
        for _ in range(count):
            self.leaves.append(Leaf("bind", START_MS, seed(f"binding {len(self.leaves)}")).encode())

    def append(self, statement: dict[str, Any], ts: int, kind: str | None = None, **changes: Any) -> int:
        """Take a statement: its place. ``changes`` are to the payload, before it is signed."""
        content = {"mxid": statement.get("user_id"), "statement": statement, **changes}
        signature = encode_base64(self.signing_key.sign(encode_canonical_json(content)).signature)
        payload = {**content, "signatures": {self.origin: {"ed25519:0": signature}}}
        nonce = seed(f"nonce {len(self.leaves)}")
        kind = kind or ("key_revoke" if statement.get("op") == "revoke" else "key")
        self.leaves.append(Leaf(kind, ts, commit(nonce, encode_canonical_json(payload))).encode())
        self.held[len(self.leaves) - 1] = {"payload": payload, "nonce": encode_base64(nonce)}
        return len(self.leaves) - 1

    def proof(self, index: int, size: int | None = None) -> str:
        size = size or len(self.leaves)
        path = merkle.inclusion_proof(index, size, self._hash_at)
        return str(Proof(index, tuple(path), self.checkpoint(size), self.leaves[index]))

    def checkpoint(self, size: int) -> Note:
        note = self.key.sign(str(Checkpoint(self.name, size, merkle.root(size, self._hash_at))))
        cosignatures = [each.cosign(note.text, self.cosigned_at_ms // 1000) for each in self.witnesses]
        return Note(note.text, (*note.signatures, *cosignatures))

    def entry(self, index: int, size: int | None = None) -> dict[str, Any]:
        return {**self.held[index], "proof": self.proof(index, size)}

    def answer(self, user_id: str, current: int, pending: int | None = None, size: int | None = None) -> dict[str, Any]:
        waits = {} if pending is None else {"pending": self.entry(pending, size)}
        return {
            "user_id": user_id,
            "origins": {self.origin: {"log": self.name, "current": self.entry(current, size), **waits}},
        }

    def history(self, user_id: str, *places: int, size: int | None = None) -> dict[str, Any]:
        entries = [self.entry(each, size) for each in places or sorted(self.held)]
        return {"user_id": user_id, "origins": {self.origin: {"log": self.name, "entries": entries}}}

    def _hash_at(self, level: int, index: int) -> bytes:
        first, count = index << level, 1 << level
        return merkle.complete_root([merkle.leaf_hash(each) for each in self.leaves[first : first + count]])
