"""Proofs in one text (c2sp.org/tlog-proof): an entry is in a log, to be shown to whoever knows the log's key."""

from dataclasses import dataclass

from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import open_checkpoint
from sydent_py.tlog.note import Note, VerifierKey
from sydent_py.tlog.text import Malformed, format_base64, parse_base64, parse_hash, parse_number

_HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63


@dataclass(frozen=True)
class Proof:
    """Where an entry is, the hashes beside its way up to the root, and the checkpoint::

        c2sp.org/tlog-proof@v1
        extra YW55IGJ5dGVzLCBub3QgYXV0aGVudGljYXRlZA==
        index 5
        gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
        B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=

        example.com/fancylog
        8
        (the rest of the signed checkpoint)

    ``extra`` is whatever the log adds, or None. Nothing vouches for it.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: Note
    extra: bytes | None = None

    @classmethod
    def parse(cls, encoded: bytes) -> "Proof":
        """The proof in ``encoded``; ``Malformed`` for what ``str`` would not write in the same way."""
        head, blank, checkpoint = encoded.partition(b"\n\n")
        try:
            header, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise Malformed("a proof is in ASCII up to its checkpoint") from error
        if header != _HEADER or not blank:
            raise Malformed(f"a proof begins with {_HEADER} and has a checkpoint after a blank line")
        extra = lines.pop(0).removeprefix("extra ") if lines and lines[0].startswith("extra ") else None
        if extra == "" or not lines or not lines[0].startswith("index ") or len(lines) > 1 + MAX_HASHES:
            raise Malformed("a proof has an index and up to 63 hashes")
        return cls(
            index=parse_number(lines[0].removeprefix("index ")),
            path=tuple(map(parse_hash, lines[1:])),
            checkpoint=Note.parse(checkpoint),
            extra=None if extra is None else parse_base64(extra),
        )

    def __str__(self) -> str:
        extra = [f"extra {format_base64(self.extra)}"] if self.extra else []
        head = [_HEADER, *extra, f"index {self.index}", *map(format_base64, self.path)]
        return "\n".join([*head, "", str(self.checkpoint)])

    def proves(self, entry: bytes, key: VerifierKey) -> bool:
        """Whether it shows ``entry`` in the log whose key is ``key``; ``Malformed`` and ``Unsigned`` for its checkpoint."""
        checkpoint = open_checkpoint(str(self.checkpoint).encode(), key)
        return merkle.proves_inclusion(merkle.leaf_hash(entry), self.index, checkpoint.size, self.path, checkpoint.root)
