"""Submissions (c2sp.org/tlog-witness): a checkpoint for a witness, and the proof that it continues the one the witness knows."""

from dataclasses import dataclass

from sydent_py.tlog.note import Note
from sydent_py.tlog.text import Malformed, format_base64, parse_hash, parse_number

MAX_HASHES = 63


@dataclass(frozen=True)
class Submission:
    """The size that the witness has cosigned last, a consistency proof from there, and the checkpoint::

    old 20852014
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
    jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=

    example.com/behind-the-sofa
    20852163
    (the rest of the signed checkpoint)
    """

    old_size: int
    path: tuple[bytes, ...]
    checkpoint: Note

    @classmethod
    def parse(cls, encoded: bytes) -> "Submission":
        """The submission in ``encoded``; ``Malformed`` for what ``str`` would not write in the same way."""
        head, blank, checkpoint = encoded.partition(b"\n\n")
        try:
            old, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise Malformed("a submission is in ASCII up to its checkpoint") from error
        if not blank or not old.startswith("old ") or len(lines) > MAX_HASHES:
            raise Malformed("a submission has an old size, up to 63 hashes, a blank line and a checkpoint")
        size = parse_number(old.removeprefix("old "))
        return cls(size, tuple(map(parse_hash, lines)), Note.parse(checkpoint))

    def __str__(self) -> str:
        return "\n".join([f"old {self.old_size}", *map(format_base64, self.path), "", str(self.checkpoint)])
