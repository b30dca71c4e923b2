"""Gives entries their place in the log, grows the tree, and signs it."""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.log import models
from sydent_py.log.leaf import Leaf
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.note import Note, SigningKey
from sydent_py.tlog.text import HASH_BYTES
from sydent_py.tlog.tiles import Tile, TileName

# A batch is stored in one transaction, which on SQLite keeps all other writers waiting.
BATCH_ENTRIES = 1000


class NotThisLog(Exception):
    """The log in the database is of another name, or was signed with another key; the message says which."""


@dataclass(frozen=True)
class Batch:
    """The next entries, and the tree they make of a tree of ``old_size``."""

    old_size: int
    pending_ids: tuple[int, ...]
    tiles: tuple[Tile, ...]
    root: bytes

    @property
    def size(self) -> int:
        """How many entries the tree has with them."""
        return self.old_size + len(self.pending_ids)


@dataclass(frozen=True)
class Sequencer:
    """Takes what waits into the log.

    A tree is stored before it is signed, and its signature before anybody can see it. Whatever happens in between, and however
    many do this at once: an entry has one place, and one tree of each size is signed. The key's name is the log's origin.
    """

    database: Database
    key: SigningKey
    clock: Clock

    def prepare(self) -> None:
        """Make sure of the log, at first an empty one; ``NotThisLog`` when the database has another.

        An empty log follows its server to a new name. It never goes over to another key, which some node may have made.
        """
        empty = Checkpoint(self.key.name, 0, merkle.EMPTY_ROOT)
        with self.database.begin() as db:
            if not models.exists(db) or self._is_renamed(db):
                checkpoint = str(self.key.sign(str(empty)))
                models.begin(db, origin=self.key.name, root=empty.root, now_ms=self.clock.now_ms(), checkpoint=checkpoint)
            head = models.head(db)
        self._require_ours(head)

    def _is_renamed(self, db: Connection) -> bool:
        head = models.head(db)
        old_name = replace(self.key, name=head.origin).verifier_key
        return head.size == 0 and models.backlog(db)[0] == 0 and Note.parse(head.checkpoint.encode()).is_signed_by(old_name)

    def _require_ours(self, head: Any) -> None:
        if head.origin != self.key.name:
            raise NotThisLog(f"The log in the database is {head.origin} and not {self.key.name}.")
        try:
            open_checkpoint(head.checkpoint.encode(), self.key.verifier_key)
        except Unsigned as error:
            raise NotThisLog("The log in the database was signed with another key.") from error

    def __call__(self) -> None:
        """Take in all that waits, batch by batch, and publish it."""
        self.publish()
        while (batch := self.next_batch()) and self.store(batch):
            self.publish()

    def next_batch(self) -> Batch | None:
        """What is to be taken in next; None where nothing waits."""
        with self.database.autocommit() as db:
            size, waiting = models.head(db).size, models.pending(db, BATCH_ENTRIES)
            if not waiting:
                return None
            leaves = [merkle.leaf_hash(Leaf(row.kind, row.ts, row.commitment).encode()) for row in waiting]
            edge = [_read(db, name) for name in tiles.edge_of(size)]
        grown = tiles.grow(size, edge, leaves)
        known = {(tile.level, tile.index): tile.hashes for tile in (*edge, *grown)}
        root = merkle.root(size + len(leaves), tiles.hashes_from(lambda level, index: known[level, index]))
        return Batch(size, tuple(row.id for row in waiting), tuple(grown), root)

    def store(self, batch: Batch) -> bool:
        """Store the entries, the tiles and the new head: whether nobody else had moved the head meanwhile."""
        with self.database.begin() as db:
            if not models.advance(db, old_size=batch.old_size, size=batch.size, root=batch.root):
                return False
            # As they are now: what they are about may have been erased since they were read.
            rows = models.take(db, batch.pending_ids)
            if len(rows) != len(batch.pending_ids):
                raise LookupError("entries that waited for their place in the log have vanished")
            models.add_entries(db, batch.old_size, rows)
            models.put_tiles(
                db, [{"level": tile.level, "tile_index": tile.index, "hashes": tile.hashes} for tile in batch.tiles]
            )
        return True

    def publish(self) -> None:
        """Sign the tree that is stored, unless it is signed already.

        The signature of a tree is always the same, so that it does no harm when two do this, or one does it again.
        """
        with self.database.autocommit() as db:
            head = models.head(db)
        if head.published_size == head.size:
            return
        self._require_ours(head)
        checkpoint = self.key.sign(str(Checkpoint(self.key.name, head.size, head.root)))
        with self.database.begin() as db:
            models.publish(db, origin=self.key.name, size=head.size, checkpoint=str(checkpoint), now_ms=self.clock.now_ms())


def exists(db: Connection) -> bool:
    """Whether the database has a log, and so somebody the key of it."""
    return models.exists(db)


def _read(db: Connection, name: TileName) -> Tile:
    hashes = models.tile(db, name.level or 0, name.index)
    assert hashes is not None, f"{name} is not there"
    # It is longer where somebody else has moved the head by now, and then the batch will not be stored.
    return Tile(name.level or 0, name.index, hashes[: name.width * HASH_BYTES])
