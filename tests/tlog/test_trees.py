"""Trees, tiles and proofs: each implementation's are the other's."""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint, open_checkpoint
from sydent_py.tlog.note import SigningKey
from sydent_py.tlog.proof import Proof
from sydent_py.tlog.text import Malformed
from sydent_py.tlog.tiles import Tile, TileName
from tests.tlog.conftest import Ask, Refused, b64
from tests.unit.tlog.fuzzing import nearly

SIZES = [1, 2, 255, 256, 257, 1_000, 65_536, 70_000]
LOG = SigningKey("example.com/log", bytes(32))
# Of all lengths that there can be: none, the most, and a few bytes.
ENTRIES = [b"", b"x" * tiles.MAX_ENTRY_BYTES, *(b"%d" % number for number in range(2, max(SIZES)))]
NAMES = st.builds(TileName, st.none() | st.integers(0, 63), st.integers(0, 10**18), st.integers(1, 256))

many = settings(deadline=None)


class Files:
    """Our tiles, of entries that come in batches, in a directory as they are served."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.size = 0
        self._tiles: dict[tuple[int, int], bytes] = {}

    def append(self, entries: Sequence[bytes]) -> None:
        edge = [
            Tile(name.level or 0, name.index, self._tiles[name.level or 0, name.index]) for name in tiles.edge_of(self.size)
        ]
        for tile in tiles.grow(self.size, edge, list(map(merkle.leaf_hash, entries))):
            self._tiles[tile.level, tile.index] = tile.hashes
            self._write(TileName(tile.level, tile.index, len(tile.hashes) // 32), tile.hashes)
        self.size += len(entries)
        for index in range((self.size - len(entries)) // tiles.WIDTH, -(-self.size // tiles.WIDTH)):
            bundle = ENTRIES[index * tiles.WIDTH : min(self.size, (index + 1) * tiles.WIDTH)]
            self._write(TileName(None, index, len(bundle)), tiles.format_bundle(bundle))

    @property
    def hash_at(self) -> merkle.HashAt:
        return tiles.hashes_from(lambda level, index: self._tiles[level, index])

    @property
    def root(self) -> bytes:
        return merkle.root(self.size, self.hash_at)

    def _write(self, name: TileName, content: bytes) -> None:
        path = self.directory / str(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read(directory: Path) -> merkle.HashAt:
    """The hashes in the tiles of a directory, the widest of each."""

    def tile(level: int, index: int) -> bytes:
        path = directory / str(TileName(level, index))
        if path.exists():
            return path.read_bytes()
        partial = directory / f"{TileName(level, index)}.p"
        return max((file.read_bytes() for file in partial.iterdir()), key=len)

    return tiles.hashes_from(tile)


@pytest.mark.parametrize("size", SIZES)
def test_our_tiles_are_audited_and_their_proofs_are_ours(size: int, ask: Ask, tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.append(ENTRIES[:size])
    root, bundles = files.root, -(-size // 256)
    # Of each level as many as it takes for the hashes there, until there are none.
    levels = [size // 256**level for level in range(4)]
    assert ask("audit", directory=str(tmp_path), size=size, root=b64(root)) == [
        sum(-(-count // 256) for count in levels),
        bundles,
    ]
    for index in {0, size // 2, size - 1}:
        old = index + 1
        entry, path, growth = ask("prove", directory=str(tmp_path), size=size, root=b64(root), index=index, old=old)
        assert entry == b64(ENTRIES[index])
        assert path == list(map(b64, merkle.inclusion_proof(index, size, files.hash_at)))
        assert growth == list(map(b64, merkle.consistency_proof(old, size, files.hash_at)))


@pytest.mark.parametrize("batches", [[1] * 300, [255, 1, 1], [256, 256], [100, 0, 500], [65_535, 1, 1, 4_463]])
def test_tiles_that_grow_are_the_same_files_as_its(batches: list[int], ask: Ask, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    files, ends = Files(ours), list(itertools.accumulate(batches, initial=0))
    pieces = [ENTRIES[start:end] for start, end in itertools.pairwise(ends)]
    for piece in pieces:
        files.append(piece)
    assert ask("write", directory=str(theirs), batches=[list(map(b64, piece)) for piece in pieces]) == b64(files.root)
    # It deletes partial tiles of which there is a full one.
    for path in (path for path in theirs.rglob("*") if path.is_file()):
        assert path.read_bytes() == (ours / path.relative_to(theirs)).read_bytes()
    missing = {
        path.relative_to(ours)
        for path in ours.rglob("*")
        if path.is_file() and not (theirs / path.relative_to(ours)).exists()
    }
    assert all((theirs / path.parent.with_suffix("")).exists() for path in missing)


@pytest.mark.parametrize("size", SIZES)
def test_its_tiles_are_read_by_us(size: int, ask: Ask, tmp_path: Path) -> None:
    root = ask("write", directory=str(tmp_path), batches=[list(map(b64, ENTRIES[:size]))])
    hash_at = read(tmp_path)
    assert b64(merkle.root(size, hash_at)) == root
    for path in (tmp_path / "tile" / "entries").rglob("*"):
        if path.is_file():
            name = TileName.parse(str(path.relative_to(tmp_path)))
            assert tiles.parse_bundle(path.read_bytes()) == ENTRIES[name.index * 256 :][: name.width]


def test_proofs(ask: Ask) -> None:
    """Its own, which we make and take as well, and ours, which it takes; changed ones neither takes."""
    size = 130
    entries = [b"%d" % number for number in range(size)]
    inclusions = [[index, of] for of in (1, 2, 3, 64, 65, 127, 128, 130) for index in range(0, of, 7)]
    consistencies = [[old, new] for new in (1, 2, 3, 64, 65, 127, 128, 130) for old in range(1, new + 1, 7)]
    root, paths, growths = ask("tree", entries=list(map(b64, entries)), inclusions=inclusions, consistencies=consistencies)
    leaves = list(map(merkle.leaf_hash, entries))
    (tile,) = tiles.grow(0, [], leaves)
    hash_at = tiles.hashes_from(lambda _level, _index: tile.hashes)
    assert root == b64(merkle.root(size, hash_at))
    for (index, of), path in zip(inclusions, paths, strict=True):
        ours, root = merkle.inclusion_proof(index, of, hash_at), merkle.root(of, hash_at)
        assert path == list(map(b64, ours))
        for changed in ([], ours[::-1], ours[1:], [*ours, root], [bytes(32), *ours[1:]]):
            holds = merkle.proves_inclusion(leaves[index], index, of, changed, root)
            assert holds == (changed == ours)
            asked = {
                "leaf": b64(leaves[index]),
                "index": index,
                "size": of,
                "path": list(map(b64, changed)),
                "root": b64(root),
            }
            assert ask("inclusion", **asked) == holds
    for (old, new), path in zip(consistencies, growths, strict=True):
        ours, roots = merkle.consistency_proof(old, new, hash_at), [merkle.root(old, hash_at), merkle.root(new, hash_at)]
        assert path == list(map(b64, ours))
        for changed in ([], ours[::-1], ours[1:], [*ours, roots[0]], [bytes(32), *ours[1:]]):
            holds = merkle.proves_consistency(old, new, changed, roots[0], roots[1])
            assert holds == (changed == ours)
            assert ask("consistency", old=old, new=new, path=list(map(b64, changed)), roots=list(map(b64, roots))) == holds


@many
@given(st.integers(-1, 9), st.integers(-1, 9), st.lists(st.sampled_from([0, 1, 2]), max_size=4), st.sampled_from([0, 1, 2]))
def test_made_up_proofs_are_judged_in_the_same_way(ask: Ask, one: int, other: int, path: list[int], root: int) -> None:
    hashes = [merkle.EMPTY_ROOT, bytes(32), merkle.leaf_hash(b"")]
    chosen, end = [hashes[number] for number in path], hashes[root]
    asked = {"leaf": b64(hashes[2]), "index": one, "size": other, "path": list(map(b64, chosen)), "root": b64(end)}
    assert ask("inclusion", **asked) == merkle.proves_inclusion(hashes[2], one, other, chosen, end)
    if one or other:  # Of nothing and nothing it checks the root as well, as our checkpoints do.
        asked = {"old": one, "new": other, "path": list(map(b64, chosen)), "roots": [b64(end), b64(end)]}
        assert ask("consistency", **asked) == merkle.proves_consistency(one, other, chosen, end, end)


def test_the_parts_of_a_proof_in_one_text(ask: Ask, tmp_path: Path) -> None:
    """It does not read such texts: it is given the checkpoint and the path in them."""
    files = Files(tmp_path)
    files.append(ENTRIES[:600])
    note = LOG.sign(str(Checkpoint(LOG.name, files.size, files.root)))
    text = str(Proof(300, tuple(merkle.inclusion_proof(300, 600, files.hash_at)), note, b"extra"))
    assert Proof.parse(text.encode()).proves(ENTRIES[300], LOG.verifier_key)
    head, _, checkpoint = text.partition("\n\n")
    _, _, index, *path = head.split("\n")
    assert ask("verify", encoded=b64(checkpoint.encode()), log=str(LOG.verifier_key), witnesses=[]) == {}
    _, size, root, _ = ask("checkpoint", text=str(open_checkpoint(checkpoint.encode(), LOG.verifier_key)))
    leaf = b64(merkle.leaf_hash(ENTRIES[300]))
    assert ask("inclusion", leaf=leaf, index=int(index.removeprefix("index ")), size=size, path=path, root=root)


@pytest.mark.parametrize(
    "name", ["tile/0/001", "tile/0/003.p/232", "tile/1/000.p/3", "tile/entries/002", "tile/entries/003.p/232"]
)
@pytest.mark.parametrize("how", ["a bit", "cut off", "longer", "lost"])
def test_a_file_that_is_damaged_is_found_by_both(name: str, how: str, ask: Ask, tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.append(ENTRIES[:1_000])
    root, path = files.root, tmp_path / name
    content = path.read_bytes()
    if how == "lost":
        path.unlink()
    else:
        path.write_bytes(
            {"a bit": content[:-1] + bytes([content[-1] ^ 1]), "cut off": content[:-1], "longer": content + b"\0"}[how]
        )
    with pytest.raises(Refused):
        ask("audit", directory=str(tmp_path), size=1_000, root=b64(root))
    assert not is_whole(tmp_path, 1_000, root)


def is_whole(directory: Path, size: int, root: bytes) -> bool:
    """Whether our own reading of the files comes to the root, from the entries and from the tiles."""
    try:
        names = [TileName(None, index, min(256, size - index * 256)) for index in range(-(-size // 256))]
        entries = [entry for name in names for entry in tiles.parse_bundle((directory / str(name)).read_bytes())]
        grown = tiles.grow(0, [], list(map(merkle.leaf_hash, entries)))
        stored = [(directory / str(TileName(tile.level, tile.index, len(tile.hashes) // 32))).read_bytes() for tile in grown]
    except (Malformed, FileNotFoundError):
        return False
    by_place = {(tile.level, tile.index): tile.hashes for tile in grown}
    hash_at = tiles.hashes_from(lambda level, index: by_place[level, index])
    return merkle.root(size, hash_at) == root and stored == [tile.hashes for tile in grown]


def test_the_files_are_whole_before_they_are_damaged(ask: Ask, tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.append(ENTRIES[:1_000])
    assert is_whole(tmp_path, 1_000, files.root)
    assert ask("audit", directory=str(tmp_path), size=1_000, root=b64(files.root)) == [5, 4]


@many
@given(NAMES.map(str) | nearly(NAMES.map(str)))
def test_a_name_of_a_tile_that_we_take_is_one_to_it(ask: Ask, path: str) -> None:
    with suppress(Malformed):
        name = TileName.parse(path)
        assert ask("tile_name", path=path) == [name.level, name.index, name.width]


@many
@given(st.binary(max_size=60) | st.lists(st.binary(max_size=20), max_size=9).map(tiles.format_bundle))
def test_bundles_are_read_and_refused_in_the_same_way(ask: Ask, bundle: bytes) -> None:
    try:
        entries = tiles.parse_bundle(bundle)
    except Malformed:
        with pytest.raises(Refused):
            ask("bundle", encoded=b64(bundle))
        return
    assert ask("bundle", encoded=b64(bundle)) == list(map(b64, entries))
