"""What witnesses say of this server's own log; only what was verified is kept."""

from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py.database import Database
from sydent_py.log import cosignature_models as models
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.cosignature import cosigned_at
from sydent_py.tlog.note import Note, Signature, VerifierKey

# Of the 64 signatures that a note may have.
MAX_SERVED = 32


@dataclass(frozen=True)
class Cosignatures:
    """Keeps the newest of each witness."""

    database: Database

    def keep(self, key: VerifierKey, text: str, line: Signature) -> bool:
        """Keep a cosignature of the checkpoint of this text: whether ``key``, of type 4, has made it."""
        if not line.is_by(key) or cosigned_at(Note(text, (line,)), key) is None:
            return False
        with self.database.begin() as db:
            models.put(db, str(key), size=Checkpoint.parse(text).size, text=text, cosignature=str(line))
        return True

    def size(self, key: VerifierKey) -> int:
        """How many entries the log had when ``key`` cosigned it last, 0 where it never has."""
        with self.database.autocommit() as db:
            return models.size(db, str(key))


def cosigned(db: Connection, note: Note) -> Note:
    """A checkpoint of this server's log with all that is kept of its cosignatures behind its own signature."""
    lines = map(Signature.parse, models.lines(db, note.text, MAX_SERVED))
    return Note(note.text, (*note.signatures, *lines))
