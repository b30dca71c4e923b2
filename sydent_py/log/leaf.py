"""What the public log says of an entry: that something was vouched for, and when; not what."""

import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["bind", "unbind", "erase", "key", "key_revoke"]

VERSION = 1
COMMITMENT_BYTES = 32
MAX_TS = 2**53 - 1
# Two bits of the last character of base64 are of no byte: only these sixteen have none of them.
_LEAF = re.compile(
    rb'\{"commitment":"(?P<commitment>[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048])","kind":"(?P<kind>[a-z_]{1,32})","ts":(?P<ts>0|[1-9][0-9]{0,15}),"v":%d\}'
    % VERSION
)


class NotALeaf(ValueError):
    """The bytes are no entry of a log of this kind; the message says why."""


@dataclass(frozen=True)
class Leaf:
    """An entry as everybody sees it.

    In bytes, canonical JSON: ``{"commitment":"<base64>","kind":"bind","ts":1700000000000,"v":1}``. The commitment is the SHA-256 of a
    nonce of 32 bytes and the payload, which is canonical JSON too: without the nonce, nobody can guess an address. ``ts`` is
    in ms since the epoch. A newer version may write other kinds than those that this one knows.
    """

    kind: str
    ts: int
    commitment: bytes

    @classmethod
    def parse(cls, encoded: bytes) -> "Leaf":
        """The leaf in ``encoded``; ``NotALeaf`` for what ``encode`` would not write in the same way."""
        match = _LEAF.fullmatch(encoded)
        if match is None:
            raise NotALeaf("an entry is not written as a log of this kind writes it")
        leaf = cls(match["kind"].decode(), int(match["ts"]), binascii.a2b_base64(match["commitment"] + b"="))
        if leaf.ts > MAX_TS:
            raise NotALeaf("an entry is not written as a log of this kind writes it")
        return leaf

    def encode(self) -> bytes:
        """The bytes that are hashed into the tree."""
        commitment = binascii.b2a_base64(self.commitment, newline=False).decode().rstrip("=")
        return f'{{"commitment":"{commitment}","kind":"{self.kind}","ts":{self.ts},"v":{VERSION}}}'.encode()


def commit(nonce: bytes, payload: bytes) -> bytes:
    """The commitment to a payload."""
    return hashlib.sha256(nonce + payload).digest()
