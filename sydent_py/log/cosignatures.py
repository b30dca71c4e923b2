"""What witnesses say of this server's own log; only what was verified is kept."""

from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py.clock import is_recent
from sydent_py.database import Database
from sydent_py.log import cosignature_models as models
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.cosignature import claimed_at, cosigned_at
from sydent_py.tlog.note import Note, Signature, VerifierKey

# Of the 64 signatures that a note may have.
MAX_SERVED = 32
# What was cosigned longer ago says little of what a log shows now; and clocks differ.
LATE_MS = 20 * 60_000
AHEAD_MS = 5 * 60_000


@dataclass(frozen=True)
class Cosignatures:
    """Keeps the newest of each witness."""

    database: Database

    def keep(self, key: VerifierKey, checkpoint: Note, line: Signature) -> bool:
        """Keep a cosignature of a checkpoint that this server's log has signed: whether ``key``, of type 4, has made it."""
        text = checkpoint.text
        if not line.is_by(key) or cosigned_at(Note(text, (line,)), key) is None:
            return False
        size, own = Checkpoint.parse(text).size, str(Note(text, checkpoint.signatures[:1]))
        with self.database.begin() as db:
            models.put(db, str(key), size=size, text=text, cosignature=str(line), checkpoint=own)
        return True

    def size(self, key: VerifierKey) -> int:
        """How many entries the log had when ``key`` cosigned it last, 0 where it never has."""
        with self.database.autocommit() as db:
            return models.size(db, str(key))


def best_cosigned(db: Connection, now_ms: int) -> Note | None:
    """The checkpoint that the most witnesses have cosigned of late, the newest of several; None where there is none.

    While a log grows, its newest checkpoint is cosigned by nobody yet.
    """
    found: dict[str, list[Signature]] = {}
    for row in models.every(db):
        line = Signature.parse(row.cosignature)
        if is_recent((claimed_at(line) or 0) * 1000, now_ms + AHEAD_MS, AHEAD_MS + LATE_MS):
            found.setdefault(row.checkpoint, []).append(line)
    if not found:
        return None
    best = max(found, key=lambda note: (len(found[note]), Checkpoint.in_note(note.encode()).size))
    note = Note.parse(best.encode())
    return Note(note.text, (*note.signatures, *found[best][:MAX_SERVED]))


def cosigned(db: Connection, note: Note) -> Note:
    """A checkpoint of this server's log with all that is kept of its cosignatures behind its own signature."""
    lines = map(Signature.parse, models.lines(db, note.text, MAX_SERVED))
    return Note(note.text, (*note.signatures, *lines))
