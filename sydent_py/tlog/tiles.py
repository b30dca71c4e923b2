"""Tiles (c2sp.org/tlog-tiles): the tree and its entries in files that never change."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sydent_py.tlog import merkle
from sydent_py.tlog.text import HASH_BYTES, Malformed, parse_number

HEIGHT = 8
WIDTH = 1 << HEIGHT
TILE_BYTES = WIDTH * HASH_BYTES
MAX_LEVEL = 63
MAX_ENTRY_BYTES = 0xFFFF
_LENGTH_BYTES = 2
_INDEX = re.compile(r"((?:x[0-9]{3}/){0,6})([0-9]{3})")


@dataclass(frozen=True, order=True)
class TileName:
    """Which hashes, or which entries where ``level`` is None, a file holds: ``width`` of them, from ``index * 256``.

    As a path: ``tile/<level>/<index>``, with the level ``entries`` for entries, the index in groups of three digits all but the last
    of which begin with an ``x``, and at the end, where there are fewer than 256, ``.p/<width>``: ``tile/0/x001/x234/067``,
    ``tile/entries/x001/234.p/5``.
    """

    level: int | None
    index: int
    width: int = WIDTH

    @classmethod
    def parse(cls, path: str) -> "TileName":
        """The name in a path; ``Malformed``."""
        tile, _, rest = path.partition("/")
        level, _, rest = rest.partition("/")
        index, partial, width = rest.partition(".p/")
        if tile != "tile":
            raise Malformed("not the path of a tile")
        name = cls(
            None if level == "entries" else parse_number(level),
            _parse_index(index),
            parse_number(width) if partial else WIDTH,
        )
        if not 0 <= (name.level or 0) <= MAX_LEVEL or not 0 < name.width < WIDTH + (not partial):
            raise Malformed("a tile has a level up to 63, and a partial one 1 to 255 hashes")
        return name

    def __str__(self) -> str:
        level = "entries" if self.level is None else self.level
        partial = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{level}/{_format_index(self.index)}{partial}"

    @property
    def is_full(self) -> bool:
        """Whether it holds all there will ever be in its place."""
        return self.width == WIDTH

    def is_in(self, size: int) -> bool:
        """Whether a tree of ``size`` entries has all of it."""
        return self.index * WIDTH + self.width <= size >> HEIGHT * (self.level or 0)


@dataclass(frozen=True)
class Tile:
    """Consecutive hashes of one level of the tree, up to 256: each over ``256 ** level`` entries."""

    level: int
    index: int
    hashes: bytes

    @property
    def is_full(self) -> bool:
        """Whether it is hashed into the level above."""
        return len(self.hashes) == TILE_BYTES

    def root(self) -> bytes:
        """The hash of a full tile."""
        return merkle.complete_root(split_hashes(self.hashes))


def edge_of(size: int) -> list[TileName]:
    """The partial tiles at the right edge of a tree, lowest level first; a level where all are full has none."""
    levels = range(-(-size.bit_length() // HEIGHT))
    names = [TileName(level, size >> HEIGHT * (level + 1), (size >> HEIGHT * level) % WIDTH) for level in levels]
    return [name for name in names if name.width]


def grow(size: int, edge: Iterable[Tile], leaves: Sequence[bytes]) -> list[Tile]:
    """The tiles that are new or longer when leaf hashes are appended to a tree of ``size`` whose partial tiles are ``edge``."""
    partial = {tile.level: tile.hashes for tile in edge}
    tiles, level, added = [], 0, list(leaves)
    while added:
        hashes, first = partial.get(level, b"") + b"".join(added), size >> HEIGHT * (level + 1)
        grown = [
            Tile(level, first + number, hashes[start : start + TILE_BYTES])
            for number, start in enumerate(range(0, len(hashes), TILE_BYTES))
        ]
        tiles += grown
        level, added = level + 1, [tile.root() for tile in grown if tile.is_full]
    return tiles


def hashes_from(read: Callable[[int, int], bytes]) -> merkle.HashAt:
    """The hashes of complete subtrees, out of the tiles that ``read(level, index)`` gives, each of them read once."""
    tiles: dict[tuple[int, int], bytes] = {}

    def hash_at(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, HEIGHT)
        tile_index, offset = divmod(index << height, WIDTH)
        place = tile_level, tile_index
        if place not in tiles:
            tiles[place] = read(*place)
        hashes = split_hashes(tiles[place][offset * HASH_BYTES : (offset + (1 << height)) * HASH_BYTES])
        if len(hashes) != 1 << height:
            raise Malformed(f"the tile {TileName(tile_level, tile_index)} is too short")
        return merkle.complete_root(hashes)

    return hash_at


def split_hashes(tile: bytes) -> list[bytes]:
    """The hashes in a tile; ``Malformed`` where there is part of one."""
    if len(tile) % HASH_BYTES:
        raise Malformed(f"a tile of {len(tile)} bytes")
    return [tile[start : start + HASH_BYTES] for start in range(0, len(tile), HASH_BYTES)]


def format_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries one after the other, each with its length before it as two bytes, the higher one first."""
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def parse_bundle(bundle: bytes) -> list[bytes]:
    """The entries in a bundle; ``Malformed`` where it is cut off."""
    entries, start = [], 0
    while start < len(bundle):
        begin = start + _LENGTH_BYTES
        start = begin + int.from_bytes(bundle[start:begin], "big")
        if start > len(bundle):
            raise Malformed("the bundle of entries is cut off")
        entries.append(bundle[begin:start])
    return entries


def _parse_index(text: str) -> int:
    match = _INDEX.fullmatch(text)
    if match is None or match[1].startswith("x000/"):
        raise Malformed(f"not the index of a tile: {text[:40]!r}")
    return int(re.sub("[x/]", "", text))


def _format_index(index: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups))
