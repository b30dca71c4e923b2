"""A log that does whatever a test says: it has any number of entries, and signs all that it is told to."""

import hashlib
from dataclasses import dataclass

from sydent_py.log.leaf import Leaf
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import Note, SigningKey
from sydent_py.tlog.submission import Submission
from sydent_py.tlog.text import Malformed
from sydent_py.tlog.tiles import TileName


@dataclass(frozen=True)
class FakeLog:
    """``branch`` tells its entries from those of another history, which begins after ``shared`` of them."""

    key: SigningKey
    branch: str = ""
    shared: int = 0
    extensions: tuple[str, ...] = ()

    def entry(self, index: int) -> bytes:
        said = f"{index}{self.branch if index >= self.shared else ''}".encode()
        return Leaf("bind", 1_800_000_000_000 + index, hashlib.sha256(said).digest()).encode()

    def hash_at(self, level: int, index: int) -> bytes:
        first, count = index << level, 1 << level
        return merkle.complete_root([merkle.leaf_hash(self.entry(each)) for each in range(first, first + count)])

    def root(self, size: int) -> bytes:
        return merkle.root(size, self.hash_at)

    def checkpoint(self, size: int) -> Note:
        return self.key.sign(str(Checkpoint(self.key.name, size, self.root(size), self.extensions)))

    def submission(self, old: int, size: int) -> Submission:
        return Submission(old, tuple(merkle.consistency_proof(old, size, self.hash_at)), self.checkpoint(size))

    def file(self, name: str, size: int) -> bytes | None:
        """What the log serves under a name when it has ``size`` entries."""
        if name == "vkey":
            return f"{self.key.verifier_key}\n".encode()
        if name == "checkpoint":
            return str(self.checkpoint(size)).encode()
        try:
            tile = TileName.parse(name)
        except Malformed:
            return None
        if not tile.is_in(size):
            return None
        places = range(tile.index * tiles.WIDTH, tile.index * tiles.WIDTH + tile.width)
        if tile.level is None:
            return tiles.format_bundle(map(self.entry, places))
        return b"".join(self.hash_at(tile.level * tiles.HEIGHT, place) for place in places)
