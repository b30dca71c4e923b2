"""What the public log says of an entry: that something was vouched for, and when; not what."""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

from canonicaljson import encode_canonical_json
from unpaddedbase64 import decode_base64, encode_base64

from sydent_py.errors import MatrixError
from sydent_py.strict_json import parse_object

Kind = Literal["bind", "unbind", "erase"]

VERSION = 1
COMMITMENT_BYTES = 32
MAX_TS = 2**53 - 1


class NotALeaf(ValueError):
    """The bytes are no entry of a log of this kind; the message says why."""


@dataclass(frozen=True)
class Leaf:
    """An entry as everybody sees it.

    In bytes, canonical JSON: ``{"commitment":"<base64>","kind":"bind","ts":1700000000000,"v":1}``. The commitment is the SHA-256 of a
    nonce of 32 bytes and the payload, which is canonical JSON too: without the nonce, nobody can guess an address. ``ts`` is
    in ms since the epoch.
    """

    kind: Kind
    ts: int
    commitment: bytes

    @classmethod
    def parse(cls, encoded: bytes) -> "Leaf":
        """The leaf in ``encoded``; ``NotALeaf`` for what ``encode`` would not write in the same way."""
        try:
            fields = parse_object(encoded)
            leaf = cls(fields["kind"], fields["ts"], decode_base64(fields["commitment"]))
        except (MatrixError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise NotALeaf("an entry is no JSON object with kind, ts and commitment") from error
        if leaf.kind not in get_args(Kind):
            raise NotALeaf(f"an entry is of the unknown kind {str(leaf.kind)[:40]!r}")
        is_time = type(leaf.ts) is int and 0 <= leaf.ts <= MAX_TS
        if not is_time or len(leaf.commitment) != COMMITMENT_BYTES or leaf.encode() != encoded:
            raise NotALeaf("an entry is not written as a log writes it")
        return leaf

    def encode(self) -> bytes:
        """The bytes that are hashed into the tree."""
        fields = {"v": VERSION, "kind": self.kind, "ts": self.ts, "commitment": encode_base64(self.commitment)}
        return encode_canonical_json(fields)


def commit(nonce: bytes, payload: bytes) -> bytes:
    """The commitment to a payload."""
    return hashlib.sha256(nonce + payload).digest()
