"""Checking a whole log from what it publishes, with nothing but its key and what was seen of it before."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sydent_py.log.leaf import Leaf, NotALeaf
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.growing import GrowingTree
from sydent_py.tlog.note import VerifierKey
from sydent_py.tlog.text import HASH_BYTES, Malformed
from sydent_py.tlog.tiles import Tile, TileName


class Contradiction(Exception):
    """The log is not what it says it is. ``evidence`` shows it to others: signed checkpoints, as they were served."""

    def __init__(self, message: str, *evidence: bytes) -> None:
        super().__init__(message)
        self.evidence = evidence


class Missing(Exception):
    """The log has no file of this name."""


@dataclass(frozen=True)
class Verified:
    """What a log was found to be: its checkpoint as it was served, and how many entries of each kind it has."""

    encoded: bytes
    checkpoint: Checkpoint
    kinds: Counter[str]


def reading_order(size: int) -> Iterator[TileName]:
    """The tiles of a log in the order in which an audit asks for them."""
    for number in range(size >> tiles.HEIGHT):
        yield TileName(None, number)
        level, index = 0, number
        yield TileName(level, index)
        while index % tiles.WIDTH == tiles.WIDTH - 1:
            level, index = level + 1, index >> tiles.HEIGHT
            yield TileName(level, index)
    if size % tiles.WIDTH:
        yield TileName(None, size >> tiles.HEIGHT, size % tiles.WIDTH)
    yield from tiles.edge_of(size)


@dataclass(frozen=True)
class Audit:
    """Reads a log from its first entry to its last, in memory that does not grow with it.

    ``fetch`` gives the file of a name (``checkpoint``, ``tile/0/000``) or raises ``Missing``; what else it raises ends the audit.
    ``progress`` is told how many entries are done, and of how many; ``expect`` which files will be asked for, in order.
    """

    fetch: Callable[[str], bytes]
    key: VerifierKey
    progress: Callable[[int, int], None]
    expect: Callable[[Iterator[str]], None] = lambda _names: None

    def __call__(self, seen: bytes | None) -> Verified:
        """Verify signature, tree, tiles and entries, and that the log continues the checkpoint ``seen`` earlier.

        Raises ``Contradiction``, and ``Missing`` where there is no checkpoint.
        """
        encoded = self.fetch("checkpoint")
        before, now = self._open(seen) if seen else _empty(self.key.name), self._open(encoded)
        if now.size < before.size:
            shrunk = f"The log has shrunk: it had {before.size:,} entries, and now has {now.size:,}. If a cache stands before it, try again in a minute."
            raise Contradiction(shrunk, seen or b"", encoded)
        if now.size == before.size and now.root != before.root:
            forked = f"The log has two trees of {now.size:,} entries, and signed both: it was forked."
            raise Contradiction(forked, seen or b"", encoded)
        self.expect(map(str, reading_order(now.size)))
        try:
            root_then, kinds = self._read(now, before.size)
        except Contradiction as found:
            raise Contradiction(str(found), encoded) from found
        if root_then != before.root:
            # Said only now: the entries are those of the new checkpoint, so that it is the log itself that contradicts the old one.
            raise Contradiction(
                f"The log was rewritten: its first {before.size:,} entries are not those of the checkpoint seen before.",
                seen or b"",
                encoded,
            )
        return Verified(encoded, now, kinds)

    def _open(self, encoded: bytes) -> Checkpoint:
        try:
            return open_checkpoint(encoded, self.key)
        except Malformed as error:
            raise Contradiction(f"What the log has for a checkpoint is none: {error}.") from error
        except Unsigned as error:
            raise Contradiction(f"The checkpoint is not one of this log: {error}.", encoded) from error

    def _read(self, now: Checkpoint, old_size: int) -> tuple[bytes, Counter[str]]:
        """The root of the first ``old_size`` entries, and the kinds of all, which are those that ``now`` signs."""
        tree, kinds, root_then = GrowingTree(), Counter[str](), merkle.EMPTY_ROOT
        for leaves in self._leaves(now.size, old_size, kinds):
            for tile in tree.append(leaves):
                self._compare(tile)
            if tree.size == old_size:
                root_then = tree.root()
            self.progress(tree.size, now.size)
        for _, tile in sorted(tree.edge.items()):
            self._compare(tile)
        if tree.root() != now.root:
            raise Contradiction(
                "The checkpoint signs another tree than that of the log's entries, with which the tiles agree: one of them was changed."
            )
        return root_then, kinds

    def _leaves(self, size: int, stop: int, kinds: Counter[str]) -> Iterator[list[bytes]]:
        """The leaf hashes of all entries, a bundle at a time, with a break at ``stop``."""
        for start in range(0, size, tiles.WIDTH):
            name = TileName(None, start // tiles.WIDTH, min(tiles.WIDTH, size - start))
            leaves = self._bundle(name, kinds)
            middle = stop - start if start < stop < start + name.width else 0
            yield from filter(None, (leaves[:middle], leaves[middle:]))

    def _bundle(self, name: TileName, kinds: Counter[str]) -> list[bytes]:
        try:
            entries = tiles.parse_bundle(self._fetch(name))[: name.width]
            leaves = [Leaf.parse(entry) for entry in entries]
        except Malformed as error:
            raise Contradiction(f"The entries of {name} cannot be read: {error}.") from error
        except NotALeaf as error:
            reason = f"{error}. A newer version of sydent-py may know what it is."
            raise Contradiction(f"The entries of {name} cannot be read: {reason}") from error
        if len(entries) != name.width:
            raise Contradiction(f"{name} has {len(entries)} entries and not {name.width}.")
        kinds.update(leaf.kind for leaf in leaves)
        return [merkle.leaf_hash(entry) for entry in entries]

    def _compare(self, tile: Tile) -> None:
        """Make sure that the log's tile is the one that its entries make."""
        made = tile.hashes
        name = TileName(tile.level, tile.index, len(made) // HASH_BYTES)
        served = self._fetch(name)[: len(made)]
        if served == made:
            return
        if len(served) != len(made):
            raise Contradiction(f"{name} is cut short: it has {len(served):,} bytes and not {len(made):,}.")
        offset = next(
            start for start in range(0, len(made), HASH_BYTES) if served[start:][:HASH_BYTES] != made[start:][:HASH_BYTES]
        )
        span = tiles.WIDTH**tile.level
        first = (tile.index * tiles.WIDTH + offset // HASH_BYTES) * span
        what = f"entry {first:,}" if span == 1 else f"the entries {first:,} to {first + span - 1:,}"
        raise Contradiction(f"Hash {offset // HASH_BYTES} of {name} is not that of {what}: one of them was changed.")

    def _fetch(self, name: TileName) -> bytes:
        """A tile; a partial one may be gone once there is more of it."""
        full = TileName(name.level, name.index)
        for each in (name,) if name.is_full else (name, full):
            try:
                return self.fetch(str(each))
            except Missing:
                continue
        raise Contradiction(f"The log has no {name}, which its own checkpoint covers.")


def _empty(origin: str) -> Checkpoint:
    return Checkpoint(origin, 0, merkle.EMPTY_ROOT)
