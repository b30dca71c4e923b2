"""The tree against RFC 6962's own definition of it."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sydent_py.tlog import merkle
from tests.unit.tlog import rfc6962

MAX_SIZE = 600
POWERS = [2**height + step for height in range(10) for step in (-1, 0, 1) if 2**height + step <= MAX_SIZE]
ENTRIES = [f"entry {number}".encode() for number in range(MAX_SIZE)]
SIZES = st.sampled_from(POWERS) | st.integers(0, MAX_SIZE)
SOME_HASH = hashlib.sha256(b"some hash").digest()


@cache
def defined(level: int, index: int) -> bytes:
    """The hash of a complete subtree of ``ENTRIES``."""
    return rfc6962.mth(ENTRIES[index << level : (index + 1) << level])


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    """A tree's size, and an entry in it."""
    size = draw(SIZES.filter(bool))
    return size, draw(st.sampled_from([0, size // 2, size - 1]) | st.integers(0, size - 1))


@st.composite
def growths(draw: st.DrawFn) -> tuple[int, int]:
    """The sizes of a tree before and after."""
    old, new = sorted((draw(SIZES), draw(SIZES)))
    return old, new


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_the_root_of_any_entries_is_the_one_that_the_rfc_defines(entries: list[bytes]) -> None:
    def hash_at(level: int, index: int) -> bytes:
        return rfc6962.mth(entries[index << level : (index + 1) << level])

    assert merkle.root(len(entries), hash_at) == rfc6962.mth(entries)
    assert list(map(merkle.leaf_hash, entries)) == [rfc6962.mth([entry]) for entry in entries]


def test_small_trees_and_all_their_proofs_are_those_that_the_rfc_defines() -> None:
    for size in range(35):
        assert merkle.root(size, defined) == rfc6962.mth(ENTRIES[:size])
        for index in range(size):
            assert merkle.inclusion_proof(index, size, defined) == rfc6962.path(index, ENTRIES[:size])
        for old in range(1, size + 1):
            assert merkle.consistency_proof(old, size, defined) == rfc6962.proof(old, ENTRIES[:size])


@settings(deadline=None)
@given(places())
def test_inclusion_proofs_are_those_that_the_rfc_defines(place: tuple[int, int]) -> None:
    size, index = place
    entries = ENTRIES[:size]
    path = merkle.inclusion_proof(index, size, defined)
    assert path == rfc6962.path(index, entries)
    assert merkle.proves_inclusion(rfc6962.mth([entries[index]]), index, size, path, rfc6962.mth(entries))


@settings(deadline=None)
@given(growths())
def test_consistency_proofs_are_those_that_the_rfc_defines(growth: tuple[int, int]) -> None:
    old, new = growth
    path = merkle.consistency_proof(old, new, defined)
    assert path == (rfc6962.proof(old, ENTRIES[:new]) if old else [])
    assert merkle.proves_consistency(old, new, path, rfc6962.mth(ENTRIES[:old]), rfc6962.mth(ENTRIES[:new]))


def changed_hash(value: bytes) -> Iterator[bytes]:
    """Hashes that differ in one bit, or are shorter or longer, or are none."""
    for position in range(0, len(value) * 8, 37):
        yield (int.from_bytes(value, "big") ^ 1 << position).to_bytes(len(value), "big")
    yield from (value[:-1], value[1:], value + b"\0", b"\0" + value, value * 2, b"", SOME_HASH, merkle.EMPTY_ROOT)


def changed_path(path: Sequence[bytes], *known: bytes) -> Iterator[list[bytes]]:
    """Paths with a hash changed, left out, added, repeated or moved, or with bytes that moved to the next hash."""
    path = list(path)
    for number, value in enumerate(path):
        before, after = path[:number], path[number + 1 :]
        yield [*before, *after]
        yield [*before, value, value, *after]
        for other in changed_hash(value):
            yield [*before, other, *after]
    for number, added in itertools.product(range(len(path) + 1), [SOME_HASH, b"", *known]):
        yield [*path[:number], added, *path[number:]]
    for number, (one, other) in enumerate(itertools.pairwise(path)):
        before, after = path[:number], path[number + 2 :]
        yield [*before, other, one, *after]
        yield [*before, one + other, *after]
        yield [*before, one[:-1], one[-1:] + other, *after]
    if len(path) > 1:
        yield path[::-1]
        yield []


@settings(deadline=None, max_examples=60)
@given(places())
def test_a_changed_inclusion_proof_proves_nothing(place: tuple[int, int]) -> None:
    size, index = place
    leaf, root = rfc6962.mth([ENTRIES[index]]), rfc6962.mth(ENTRIES[:size])
    path = rfc6962.path(index, ENTRIES[:size])
    for other in changed_path(path, leaf, root):
        assert not merkle.proves_inclusion(leaf, index, size, other, root)
    for other in changed_hash(leaf):
        assert not merkle.proves_inclusion(other, index, size, path, root)
    for other in changed_hash(root):
        assert not merkle.proves_inclusion(leaf, index, size, path, other)
    for other_index in {-1, size, *range(size)} - {index}:
        assert not merkle.proves_inclusion(leaf, other_index, size, path, root)
    for other_size in {-size, -1, 0, index, 2 * size + 1, 2**63}:
        assert not merkle.proves_inclusion(leaf, index, other_size, path, root)


@settings(deadline=None, max_examples=60)
@given(growths().filter(lambda growth: 0 < growth[0] < growth[1]))
def test_a_changed_consistency_proof_proves_nothing(growth: tuple[int, int]) -> None:
    old, new = growth
    old_root, new_root = rfc6962.mth(ENTRIES[:old]), rfc6962.mth(ENTRIES[:new])
    path = rfc6962.proof(old, ENTRIES[:new])
    for other in changed_path(path, old_root, new_root):
        assert not merkle.proves_consistency(old, new, other, old_root, new_root)
    for other in changed_hash(old_root):
        assert not merkle.proves_consistency(old, new, path, other, new_root)
    for other in changed_hash(new_root):
        assert not merkle.proves_consistency(old, new, path, old_root, other)
    for sizes in [(new, old), (old, old), (new, new), (0, new), (-old, new), (old, -new), (-new, -old), (old, 2 * new + 1)]:
        assert not merkle.proves_consistency(*sizes, path, old_root, new_root)
    assert not merkle.proves_consistency(old, new, path, new_root, old_root)


def test_an_inclusion_proof_holds_for_another_place_only_where_its_way_up_is_the_same() -> None:
    """A path says nothing of the size but through its shape: that is the checkpoint's to say."""
    every = [(index, size) for size in range(1, 20) for index in range(size)]
    for index, size in every:
        path, root = rfc6962.path(index, ENTRIES[:size]), rfc6962.mth(ENTRIES[:size])
        leaf, way = rfc6962.mth([ENTRIES[index]]), rfc6962.way_up(index, size)
        for other in every:
            assert merkle.proves_inclusion(leaf, *other, path, root) == (rfc6962.way_up(*other) == way), (index, size, other)


def test_a_consistency_proof_holds_for_other_sizes_only_where_its_ways_up_are_the_same() -> None:
    every = [(old, new) for new in range(1, 20) for old in range(1, new)]
    for old, new in every:
        path, roots = rfc6962.proof(old, ENTRIES[:new]), (rfc6962.mth(ENTRIES[:old]), rfc6962.mth(ENTRIES[:new]))
        ways = rfc6962.ways_up(old, new)
        for other in every:
            holds = merkle.proves_consistency(*other, path, *roots)
            assert holds == (rfc6962.ways_up(*other) == ways), (old, new, other)


def test_what_is_consistent_with_nothing_added_and_with_nothing_before() -> None:
    one, two, three = (rfc6962.mth(ENTRIES[:size]) for size in (1, 2, 3))
    assert merkle.proves_consistency(3, 3, [], three, three)
    assert merkle.proves_consistency(0, 0, [], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT)
    assert merkle.proves_consistency(0, 3, [], merkle.EMPTY_ROOT, three)
    assert not merkle.proves_consistency(3, 3, [], three, two)
    assert not merkle.proves_consistency(3, 3, [one], three, three)
    assert not merkle.proves_consistency(0, 3, [], one, three)
    assert not merkle.proves_consistency(0, 3, [three], merkle.EMPTY_ROOT, three)
    assert not merkle.proves_consistency(1, 3, [], one, three)


@pytest.mark.parametrize("old", range(-2, 1))
@pytest.mark.parametrize("new", range(-2, 0))
def test_no_tree_has_fewer_than_no_entries(old: int, new: int) -> None:
    assert not merkle.proves_consistency(old, new, [], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT)
    assert not merkle.proves_inclusion(merkle.EMPTY_ROOT, old, new, [], merkle.EMPTY_ROOT)


@pytest.mark.parametrize(("make", "one", "other"), [
    (merkle.inclusion_proof, 0, 0), (merkle.inclusion_proof, 3, 3), (merkle.inclusion_proof, -1, 3),
    (merkle.consistency_proof, 4, 3), (merkle.consistency_proof, -1, 3), (merkle.consistency_proof, -2, -1),
])  # fmt: skip
def test_there_is_no_proof_of_what_cannot_be(make: Callable[..., list[bytes]], one: int, other: int) -> None:
    with pytest.raises(ValueError, match="no "):
        make(one, other, defined)


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_root_of_an_earlier_tree_is_read_out_of_a_later_one(first: int, second: int) -> None:
    old, new = sorted((first, second))
    root = rfc6962.mth(ENTRIES[:new])
    assert merkle.prefix_root(old, new, root, defined) == rfc6962.mth(ENTRIES[:old])
    if old:
        assert merkle.prefix_root(old, new, bytes(32), defined) is None
