"""Tiles against the definition in tlog-tiles, which is in terms of RFC 6962."""

import hashlib
import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.text import Malformed
from sydent_py.tlog.tiles import Tile, TileName
from tests.unit.tlog import rfc6962
from tests.unit.tlog.fuzzing import SUSPECTS, assert_canonical, assert_refused, nearly

ENTRIES = [f"entry {number}".encode() for number in range(1_500)]
LEAVES = [rfc6962.mth([entry]) for entry in ENTRIES]
SIZES = st.sampled_from([0, 1, 2, 255, 256, 257, 511, 512, 513, 1_024]) | st.integers(0, len(ENTRIES))
LARGE = 70_000
NAMES = st.builds(
    TileName,
    level=st.none() | st.integers(0, 63),
    index=st.integers(0, 1_001) | st.integers(0, 10**21 - 1),
    width=st.integers(1, 256),
)

Files = dict[TileName, bytes]


def defined(level: int, index: int, size: int) -> bytes:
    """The ``index``-th tile at ``level`` of the tree of the first ``size`` entries, as far as it is there."""
    starts = [(index * 256 + number) * 256**level for number in range(256)]
    return b"".join(rfc6962.mth(ENTRIES[start : start + 256**level]) for start in starts if start + 256**level <= size)


def names_of(size: int) -> set[TileName]:
    """The tiles of a tree: at each level floor(s / 256^l) hashes, and floor(s / 256^l) mod 256 of them in a partial tile."""
    names = set()
    for level in itertools.takewhile(lambda level: size // 256**level, itertools.count()):
        full, width = divmod(size // 256**level, 256)
        names |= {TileName(level, index) for index in range(full)} | ({TileName(level, full, width)} if width else set())
    return names


def grown(batches: list[list[bytes]]) -> dict[tuple[int, int], bytes]:
    """What is in the tiles after each of the batches has been appended, and that no tile was changed but by growing."""
    stored: dict[tuple[int, int], bytes] = {}
    size = 0
    for batch in batches:
        edge = [Tile(name.level or 0, name.index, stored[name.level or 0, name.index]) for name in tiles.edge_of(size)]
        for tile in tiles.grow(size, edge, batch):
            before = stored.get((tile.level, tile.index), b"")
            assert tile.hashes.startswith(before), (size, len(batch), tile.level, tile.index)
            assert len(tile.hashes) > len(before), (size, len(batch), tile.level, tile.index)
            stored[tile.level, tile.index] = tile.hashes
        size += len(batch)
    return stored


@pytest.fixture(scope="module")
def large() -> dict[tuple[int, int], bytes]:
    return grown([[merkle.leaf_hash(b"%d" % number) for number in range(LARGE)]])


@settings(deadline=None, max_examples=40)
@given(SIZES)
def test_tiles_are_the_hashes_that_tlog_tiles_defines(size: int) -> None:
    stored = grown([LEAVES[:size]])
    assert {TileName(*place, len(hashes) // 32) for place, hashes in stored.items()} == names_of(size)
    assert stored == {place: defined(*place, size) for place in stored}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0, 1, 2, 254, 255, 256, 257, 512]) | st.integers(0, 300), max_size=6))
def test_tiles_that_grow_in_batches_are_those_that_are_built_at_once(batches: list[int]) -> None:
    ends = list(itertools.accumulate(batches, initial=0))
    size = min(ends[-1], len(LEAVES))
    assert grown([LEAVES[start:end] for start, end in itertools.pairwise(ends)]) == grown([LEAVES[:size]])


def test_a_tree_of_70_000_entries_has_the_tiles_of_the_specifications_example(large: dict[tuple[int, int], bytes]) -> None:
    widths = Counter((level, len(hashes) // 32) for (level, _), hashes in large.items())
    assert widths == {(0, 256): 273, (0, 112): 1, (1, 256): 1, (1, 17): 1, (2, 1): 1}
    assert {TileName(*place, len(hashes) // 32) for place, hashes in large.items()} == names_of(LARGE)
    assert tiles.edge_of(LARGE) == [TileName(0, 273, 112), TileName(1, 1, 17), TileName(2, 0, 1)]
    entries = [b"%d" % number for number in range(LARGE)]
    assert large[2, 0] == rfc6962.mth(entries[:65_536])
    assert large[1, 1][-32:] == rfc6962.mth(entries[272 * 256 : 273 * 256])
    assert large[0, 273][:32] == rfc6962.mth(entries[273 * 256 : 273 * 256 + 1])


def test_the_level_above_begins_when_256_tiles_are_full() -> None:
    leaves = [merkle.leaf_hash(b"%d" % number) for number in range(65_537)]
    at_once = grown([leaves])
    assert grown([leaves[:65_535], leaves[65_535:65_536], leaves[65_536:]]) == at_once
    assert {level for level, _ in grown([leaves[:65_535]])} == {0, 1}
    assert at_once[2, 0] == merkle.complete_root(leaves[:65_536])


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 69_632, LARGE])
def test_roots_and_proofs_of_large_trees_come_out_of_their_tiles(size: int, large: dict[tuple[int, int], bytes]) -> None:
    hash_at = tiles.hashes_from(lambda level, index: large[level, index])
    root = merkle.root(size, hash_at)
    assert root == rfc6962.mth([b"%d" % number for number in range(size)])
    for index in (0, 1, 255, 256, 65_534, size - 1):
        path = merkle.inclusion_proof(index, size, hash_at)
        assert merkle.proves_inclusion(merkle.leaf_hash(b"%d" % index), index, size, path, root)
    for old in (1, 255, 256, 257, 32_768, 65_534, size):
        path = merkle.consistency_proof(old, size, hash_at)
        assert merkle.proves_consistency(old, size, path, merkle.root(old, hash_at), root)


@settings(deadline=None, max_examples=40)
@given(SIZES, SIZES)
def test_roots_and_proofs_come_out_of_the_tiles_of_a_tree_that_has_grown_on(one: int, other: int) -> None:
    size, later = sorted((one, other))
    stored = grown([LEAVES[:later]])
    hash_at = tiles.hashes_from(lambda level, index: stored[level, index])
    assert merkle.root(size, hash_at) == rfc6962.mth(ENTRIES[:size])
    assert merkle.consistency_proof(size, later, hash_at) == (rfc6962.proof(size, ENTRIES[:later]) if size else [])
    if size:
        assert merkle.inclusion_proof(size - 1, size, hash_at) == rfc6962.path(size - 1, ENTRIES[:size])


def test_each_tile_is_read_once() -> None:
    stored, reads = grown([LEAVES[:700]]), Counter[tuple[int, int]]()

    def read(level: int, index: int) -> bytes:
        reads[level, index] += 1
        return stored[level, index]

    hash_at = tiles.hashes_from(read)
    for index in range(0, 700, 50):
        merkle.inclusion_proof(index, 700, hash_at)
    assert set(reads.values()) == {1}


@pytest.mark.parametrize("tile", [b"", LEAVES[0], b"".join(LEAVES[:3]), b"".join(LEAVES[:4])[:-1], b"\0"])
def test_a_tile_that_is_cut_off_is_malformed(tile: bytes) -> None:
    hash_at = tiles.hashes_from(lambda _level, _index: tile)
    with pytest.raises(Malformed):
        merkle.root(4, hash_at)


def test_half_a_hash_is_malformed() -> None:
    assert tiles.split_hashes(b"") == []
    assert tiles.split_hashes(b"".join(LEAVES[:3])) == LEAVES[:3]
    assert_refused(tiles.split_hashes, bytes(33))
    assert_refused(tiles.split_hashes, bytes(31))


@given(st.integers(0, 2**63 - 1))
def test_the_right_edge_is_what_is_left_over_at_each_level(size: int) -> None:
    widths = [(level, size // 256 ** (level + 1), size // 256**level % 256) for level in range(8)]
    assert tiles.edge_of(size) == [TileName(*name) for name in widths if name[2]]


@given(
    st.integers(0, 1_500),
    NAMES.filter(lambda name: name.index < 10) | st.builds(TileName, st.sampled_from([None, 0, 1]), st.integers(0, 6)),
)
def test_a_tree_has_the_tiles_whose_last_hash_it_has(size: int, name: TileName) -> None:
    assert name.is_in(size) == ((name.index * 256 + name.width) * 256 ** (name.level or 0) <= size)
    assert name.is_full == (name.width == 256)


@given(NAMES)
def test_a_name_comes_back_as_it_was_written(name: TileName) -> None:
    assert TileName.parse(str(name)) == name


@pytest.mark.parametrize(("path", "name"), [
    ("tile/0/x001/x234/067", TileName(0, 1_234_067)),
    ("tile/63/000.p/255", TileName(63, 0, 255)),
    ("tile/entries/x001/234.p/5", TileName(None, 1_234, 5)),
    ("tile/entries/999", TileName(None, 999)),
    ("tile/2/x001/000.p/1", TileName(2, 1_000, 1)),
])  # fmt: skip
def test_names_are_paths(path: str, name: TileName) -> None:
    assert TileName.parse(path) == name
    assert str(name) == path


@pytest.mark.parametrize("path", [
    "", "tile", "tile/", "tile/0", "tile/0/", "tile//000", "/tile/0/000", "tile/0/000/", "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0",
    "tile/0/000.p/256", "tile/0/000.p/05", "tile/0/000.p/+5", "tile/0/000.p/-5", "tile/0/000.p/5/", "tile/0/000.p/5.p/5", "tile/0/000.p/5 ",
    "tile/0/000.p/５", "tile/0/000.P/5", "tile/0/000.q/5", "tile/64/000", "tile/-1/000", "tile/+1/000", "tile/00/000", "tile/01/000",
    "tile/１/000", "tile/0x1/000", "tile/1e1/000", f"tile/{'9' * 50}/000", "tile/Entries/000", "tile/entries/", "tile/entry/000",
    "tile/data/000", "tile/8/0/000", "tiles/0/000", "Tile/0/000", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/000", "tile/0/x000/x001/000",
    "tile/0/001/000", "tile/0/x001", "tile/0/x001/", "tile/0/x001//000", "tile/0/X001/000", "tile/0/x01/000", "tile/0/x0001/000",
    "tile/0/x001/x000", "tile/0/-01", "tile/0/+01", "tile/0/ 01", "tile/0/００1", "tile/0/٠٠١", "tile/0/000\n", "\ntile/0/000", "tile/0/000\0",
    "tile/0/000?", "tile/0/%30%30%30", "tile/../0/000", "tile/0/../000", f"tile/0/{'x001/' * 7}000", f"tile/0/{'x001/' * 9_999}000",
    "tile/0/000.p/²", "tile/0/000\ud800", "tile/0/000.p/1\ud800",
])  # fmt: skip
def test_what_is_no_name_of_a_tile(path: str) -> None:
    assert_refused(TileName.parse, path)


@given(
    st.text(max_size=40)
    | nearly(NAMES.map(str))
    | st.lists(st.sampled_from(["tile/", "entries", "x001/", *SUSPECTS])).map("".join)
)
def test_any_text_is_a_name_in_its_one_spelling_or_malformed(text: str) -> None:
    assert_canonical(TileName.parse, text)


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_entries_come_back_out_of_their_bundle(entries: list[bytes]) -> None:
    assert tiles.parse_bundle(tiles.format_bundle(entries)) == entries


def test_a_bundle_has_the_length_of_each_entry_before_it() -> None:
    assert tiles.format_bundle([]) == b""
    assert tiles.format_bundle([b"", b"abc", bytes(258)]) == b"\x00\x00" + b"\x00\x03abc" + b"\x01\x02" + bytes(258)
    largest = [bytes(tiles.MAX_ENTRY_BYTES)]
    assert tiles.parse_bundle(tiles.format_bundle(largest)) == largest


@given(st.binary(max_size=300))
def test_any_bytes_are_a_bundle_that_is_written_in_the_same_way_or_malformed(bundle: bytes) -> None:
    try:
        entries = tiles.parse_bundle(bundle)
    except Malformed:
        return
    assert tiles.format_bundle(entries) == bundle


def test_a_bundle_that_is_cut_off_is_malformed() -> None:
    entries = [b"", b"a", hashlib.sha256(b"").digest()]
    bundle, ends = tiles.format_bundle(entries), {0, 2, 5, 39}
    for end in range(len(bundle) + 1):
        if end in ends:
            assert tiles.format_bundle(tiles.parse_bundle(bundle[:end])) == bundle[:end]
        else:
            assert_refused(tiles.parse_bundle, bundle[:end])
