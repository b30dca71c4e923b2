"""A tree that grows at its right edge, which is all that is kept of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.text import HASH_BYTES, Malformed
from sydent_py.tlog.tiles import Tile


@dataclass
class GrowingTree:
    """The tree of ``size`` entries: ``edge`` has its partial tiles, by level."""

    size: int = 0
    edge: dict[int, Tile] = field(default_factory=dict)

    @classmethod
    def parse(cls, size: int, encoded: bytes) -> "GrowingTree":
        """The tree of this size whose edge is ``encoded``; ``Malformed``."""
        edge, start = {}, 0
        for name in tiles.edge_of(size):
            end = start + name.width * HASH_BYTES
            edge[name.level or 0] = Tile(name.level or 0, name.index, encoded[start:end])
            start = end
        if start != len(encoded):
            raise Malformed(f"an edge of {len(encoded)} bytes for a tree of {size}")
        return cls(size, edge)

    def encode(self) -> bytes:
        """The edge, the lowest level first: what ``parse`` needs beside the size."""
        return b"".join(tile.hashes for _, tile in sorted(self.edge.items()))

    def append(self, leaves: Sequence[bytes]) -> list[Tile]:
        """Add leaf hashes: the tiles that became full."""
        grown = tiles.grow(self.size, self.edge.values(), leaves)
        self.size += len(leaves)
        newest = {**self.edge, **{tile.level: tile for tile in grown}}
        self.edge = {name.level or 0: newest[name.level or 0] for name in tiles.edge_of(self.size)}
        return [tile for tile in grown if tile.is_full]

    def root(self) -> bytes:
        """The root hash."""
        return merkle.root(self.size, tiles.hashes_from(lambda level, _index: self.edge[level].hashes))
