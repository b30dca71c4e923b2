"""Checkpoints (c2sp.org/tlog-checkpoint): what a log says it is, at one size."""

from dataclasses import dataclass

from sydent_py.tlog.merkle import EMPTY_ROOT
from sydent_py.tlog.note import Note, VerifierKey, check_text
from sydent_py.tlog.text import Malformed, format_base64, parse_hash, parse_number


@dataclass(frozen=True)
class Checkpoint:
    """The text of a note: origin, number of entries, root hash, and lines that say nothing about the tree::

    example.com/behind-the-sofa
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The checkpoint in the text of a note; ``Malformed``."""
        check_text(text)
        origin, *lines, _ = text.split("\n")
        if len(lines) < 2 or not all((origin, *lines)):  # noqa: PLR2004 - size and root hash
            raise Malformed("a checkpoint has an origin, a size and a root hash, each on a line of its own")
        size, root, *extensions = lines
        checkpoint = cls(origin, parse_number(size), parse_hash(root), tuple(extensions))
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise Malformed("the root hash is not that of an empty tree")
        return checkpoint

    @classmethod
    def in_note(cls, encoded: bytes) -> "Checkpoint":
        """The checkpoint in a note, whoever has signed it; ``Malformed``."""
        return cls.parse(Note.parse(encoded).text)

    def __str__(self) -> str:
        return "\n".join([self.origin, str(self.size), format_base64(self.root), *self.extensions, ""])


class Unsigned(Exception):
    """The note is not signed by the key of the log."""


def open_checkpoint(encoded: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note that ``key``, whose name is the log's origin, has signed; ``Malformed``, ``Unsigned``."""
    note = Note.parse(encoded)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != key.name:
        raise Unsigned(f"the checkpoint is of the log {checkpoint.origin!r} and not of {key.name!r}")
    if not note.is_signed_by(key):
        raise Unsigned(f"the checkpoint has no valid signature of {key}")
    return checkpoint
