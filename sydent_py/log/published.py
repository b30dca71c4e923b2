"""The log as everybody may read it: checkpoint, tiles, entries, proofs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog
from sqlalchemy import Connection

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import NotFound, Unknown
from sydent_py.log import models
from sydent_py.log.cosignatures import best_cosigned, cosigned
from sydent_py.log.leaf import Leaf
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import Note, VerifierKey
from sydent_py.tlog.proof import Proof
from sydent_py.tlog.submission import Submission
from sydent_py.tlog.text import HASH_BYTES
from sydent_py.tlog.tiles import TileName

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Status:
    """How far the log is: ``size`` entries are stored, those of ``checkpoint`` are published, ``pending`` wait for their place.

    ``note`` is the checkpoint as it is served. ``oldest_pending_s`` is how long the first of these has waited, 0.0 where there is none.
    """

    size: int
    checkpoint: Checkpoint
    note: str
    published_at_ms: int
    pending: int
    oldest_pending_s: float


@dataclass(frozen=True)
class PublishedLog:
    """Reads what the newest checkpoint covers, and nothing beyond it."""

    database: Database
    verifier_key: VerifierKey
    clock: Clock

    def checkpoint(self) -> str:
        """The newest checkpoint, a signed note (c2sp.org/tlog-checkpoint), with what its witnesses say of it."""
        with self.database.autocommit() as db:
            return str(_cosigned(db, models.head(db)))

    def size(self) -> int:
        """How many entries the newest checkpoint covers."""
        with self.database.autocommit() as db:
            return int(models.head(db).published_size)

    def submission(self, old_size: int) -> Submission | None:
        """The newest checkpoint for a witness that knows the first ``old_size`` entries; None where there are fewer."""
        with self.database.autocommit() as db:
            head = models.head(db)
            if old_size > head.published_size:
                return None
            path = merkle.consistency_proof(old_size, head.published_size, tiles.hashes_from(_reader(db)))
        return Submission(old_size, tuple(path), Note.parse(head.checkpoint.encode()))

    def file(self, name: TileName) -> bytes:
        """The tile of this name (c2sp.org/tlog-tiles); ``NotFound`` where the log has not grown so far."""
        with self.database.autocommit() as db:
            if not name.is_in(models.head(db).published_size):
                raise NotFound("The log has not grown so far.")
            return _entries(db, name) if name.level is None else _hashes(db, name.level, name.index, name.width)

    def proof(self, commitment: bytes) -> Proof:
        """That the entry with this commitment is in the log (c2sp.org/tlog-proof), with its leaf as ``extra``; ``NotFound``."""
        proof = self.proofs([commitment]).get(commitment)
        if proof is not None:
            return proof
        with self.database.autocommit() as db:
            waits = models.entry(db, commitment) is not None or models.waits(db, commitment) is not None
        raise NotFound(
            "This entry has no place in the log yet. Please try again in a second."
            if waits
            else "The log has no entry with this commitment."
        )

    def proofs(self, commitments: Sequence[bytes]) -> dict[bytes, Proof]:
        """``proof`` of each of these entries that has its place in the log: at the checkpoint that the most witnesses have cosigned of
        late, and where that is older than the entry, at the newest.
        """
        with self.database.autocommit() as db:
            newest = _cosigned(db, models.head(db))
            notes = [note for note in (best_cosigned(db, self.clock.now_ms()), newest) if note is not None]
            checkpoints = [(Checkpoint.parse(note.text).size, note) for note in notes]
            hashes = {size: tiles.hashes_from(_reader(db)) for size, _ in checkpoints}
            proofs = {}
            for entry in models.entries(db, commitments):
                size, note = next((each for each in checkpoints if entry.entry_index < each[0]), (0, newest))
                if size:
                    path = tuple(merkle.inclusion_proof(entry.entry_index, size, hashes[size]))
                    leaf = Leaf(entry.kind, entry.ts, entry.commitment).encode()
                    proofs[entry.commitment] = Proof(entry.entry_index, path, note, leaf)
            return proofs

    def status(self) -> Status:
        """How far the log is."""
        with self.database.autocommit() as db:
            head, (pending, oldest_ms) = models.head(db), models.backlog(db)
            note = _cosigned(db, head)
        waited_s = 0.0 if oldest_ms is None else max(0.0, (self.clock.now_ms() - oldest_ms) / 1000)
        checkpoint = Checkpoint.parse(note.text)
        return Status(head.size, checkpoint, str(note), head.published_at_ms, pending, waited_s)


def _cosigned(db: Connection, head: Any) -> Note:
    """The newest checkpoint, with what its witnesses say of it."""
    return cosigned(db, Note.parse(head.checkpoint.encode()))


def _reader(db: Connection) -> Callable[[int, int], bytes]:
    return lambda level, index: models.tile(db, level, index) or _damaged(TileName(level, index))


def _hashes(db: Connection, level: int, index: int, width: int) -> bytes:
    hashes = (models.tile(db, level, index) or b"")[: width * HASH_BYTES]
    if len(hashes) != width * HASH_BYTES:
        _damaged(TileName(level, index, width))
    return hashes


def _entries(db: Connection, name: TileName) -> bytes:
    rows = models.leaves(db, name.index * tiles.WIDTH, name.width)
    if len(rows) != name.width:
        _damaged(name)
    return tiles.format_bundle(Leaf(row.kind, row.ts, row.commitment).encode() for row in rows)


def _damaged(name: TileName) -> NoReturn:
    """Say so instead of giving less, which caches would keep for ever."""
    log.error("log.damaged", missing=str(name), advice="restore the database from a backup")
    raise Unknown("This part of the log is missing: the server's database is damaged.", status=503)
