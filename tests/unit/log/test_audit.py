"""What an audit accepts and what it finds, with a dictionary as the log's server."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sydent_py.log.audit import Audit, Contradiction, Missing, Verified, reading_order
from sydent_py.log.leaf import Leaf
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import SigningKey
from sydent_py.tlog.text import HASH_BYTES
from sydent_py.tlog.tiles import TileName

KEY = SigningKey("id.test/log", b"\x01" * 32)
Files = dict[str, bytes]
some = settings(deadline=None, max_examples=50)
many = settings(deadline=None, max_examples=200)


def entries(count: int, seed: int = 0) -> list[bytes]:
    digests = [hashlib.sha256(b"%d %d" % (seed, number)).digest() for number in range(count)]
    return [Leaf("bind", 1_800_000_000_000 + number, digest).encode() for number, digest in enumerate(digests)]


def tree(leaves: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    return {(tile.level, tile.index): tile.hashes for tile in tiles.grow(0, [], list(map(merkle.leaf_hash, leaves)))}


def checkpoint(leaves: Sequence[bytes], key: SigningKey = KEY) -> bytes:
    made = tree(leaves)
    root = merkle.root(len(leaves), tiles.hashes_from(lambda level, index: made[level, index]))
    return str(key.sign(str(Checkpoint(key.name, len(leaves), root)))).encode()


def serve(leaves: Sequence[bytes]) -> Files:
    """Every file of a log that its checkpoint covers."""
    made, files = tree(leaves), {"checkpoint": checkpoint(leaves)}
    for name in reading_order(len(leaves)):
        if name.level is None:
            content = tiles.format_bundle(leaves[name.index * 256 : name.index * 256 + name.width])
        else:
            content = made[name.level, name.index][: name.width * HASH_BYTES]
        files[str(name)] = content
    return files


def audit(files: Files, seen: bytes | None = None, fetched: list[str] | None = None) -> Verified:
    def fetch(name: str) -> bytes:
        if fetched is not None:
            fetched.append(name)
        if name not in files:
            raise Missing(name)
        return files[name]

    return Audit(fetch, KEY.verifier_key, lambda _done, _total: None)(seen)


LEAVES = entries(600)
SMALL = serve(LEAVES[:300])


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 513, 600])
def test_a_sound_log_verifies_and_is_read_in_the_order_that_is_announced(size: int) -> None:
    fetched: list[str] = []
    verified = audit(serve(LEAVES[:size]), None, fetched)
    assert (verified.checkpoint.size, verified.kinds.total()) == (size, size)
    assert fetched == ["checkpoint", *map(str, reading_order(size))]


def test_the_reading_order_has_every_tile_once() -> None:
    size = 2 * 65_536 + 3 * 256 + 7
    names = list(reading_order(size))
    assert len(set(names)) == len(names)
    assert all(name.is_in(size) for name in names)
    widths = {level: sum(name.width for name in names if name.level == level) for level in (None, 0, 1, 2)}
    assert widths == {None: size, 0: size, 1: size >> 8, 2: size >> 16}
    for one, other in pairwise(name for name in names if name.level is not None and name.is_full):
        assert (other.level or 0) <= (one.level or 0) + 1


def test_progress_is_told_and_what_will_be_read_is_announced() -> None:
    told: list[tuple[int, int]] = []
    announced: list[str] = []
    Audit(SMALL.__getitem__, KEY.verifier_key, lambda *at: told.append(at), announced.extend)(None)
    assert told == [(256, 300), (300, 300)]
    assert set(announced) == set(SMALL) - {"checkpoint"}


@some
@given(st.integers(0, 600), st.integers(0, 600))
def test_a_log_that_has_grown_continues_what_was_seen(one: int, other: int) -> None:
    old, new = sorted((one, other))
    assert audit(serve(LEAVES[:new]), checkpoint(LEAVES[:old])).checkpoint.size == new


@many
@given(st.data(), st.sampled_from(sorted(SMALL)))
def test_any_byte_that_is_changed_is_found(data: st.DataObject, name: str) -> None:
    content = bytearray(SMALL[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Contradiction):
        audit({**SMALL, name: bytes(content)})


@many
@given(st.data(), st.sampled_from(sorted(SMALL)))
def test_any_file_that_is_cut_short_is_found(data: st.DataObject, name: str) -> None:
    content = SMALL[name]
    with pytest.raises(Contradiction):
        audit({**SMALL, name: content[: data.draw(st.integers(0, len(content) - 1))]})


@some
@given(st.sampled_from(sorted(SMALL)), st.binary(min_size=1, max_size=300))
def test_what_follows_in_a_file_is_refused_or_of_no_consequence(name: str, more: bytes) -> None:
    try:
        verified = audit({**SMALL, name: SMALL[name] + more})
    except Contradiction:
        return
    assert verified == audit(SMALL)


@some
@given(st.sampled_from(sorted(set(SMALL) - {"checkpoint"})), st.sampled_from(sorted(SMALL)))
def test_any_file_in_the_place_of_another_is_found(name: str, other: str) -> None:
    if SMALL[name] != SMALL[other]:
        with pytest.raises(Contradiction):
            audit({**SMALL, name: SMALL[other]})


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"checkpoint"}))
def test_a_file_that_is_withheld_is_found(name: str) -> None:
    with pytest.raises(Contradiction, match=f"has no {name}, which its own checkpoint covers") as caught:
        audit({key: content for key, content in SMALL.items() if key != name})
    assert caught.value.evidence == (SMALL["checkpoint"],)


def test_a_full_tile_serves_where_the_partial_one_is_gone() -> None:
    later = serve(LEAVES[:512])
    files = {**later, "checkpoint": SMALL["checkpoint"], "tile/1/000.p/1": SMALL["tile/1/000.p/1"]}
    assert audit(files) == audit(SMALL)


def test_without_a_checkpoint_there_is_no_log() -> None:
    with pytest.raises(Missing):
        audit({})


Rewrite = Callable[[list[bytes]], list[bytes]]


def other_first(leaves: list[bytes]) -> list[bytes]:
    return [entries(1, seed=1)[0], *leaves[1:]]


def swapped(leaves: list[bytes]) -> list[bytes]:
    return [leaves[1], leaves[0], *leaves[2:]]


def one_dropped(leaves: list[bytes]) -> list[bytes]:
    return leaves[:5] + leaves[6:]


def one_inserted(leaves: list[bytes]) -> list[bytes]:
    return [*entries(1, seed=1), *leaves]


@pytest.mark.parametrize("rewrite", [other_first, swapped, one_dropped, one_inserted])
@some
@given(old=st.integers(10, 300), grown=st.integers(0, 300))
def test_a_history_that_was_rewritten_is_found_with_both_checkpoints(rewrite: Rewrite, old: int, grown: int) -> None:
    rewritten = rewrite(LEAVES)[: old + grown]
    seen, files = checkpoint(LEAVES[:old]), serve(rewritten)
    with pytest.raises(Contradiction, match="forked" if grown == 0 or len(rewritten) == old else "rewritten") as caught:
        audit(files, seen)
    assert caught.value.evidence == (seen, files["checkpoint"])
    assert audit(files).checkpoint.size == len(rewritten), "for who has not seen the log before, it is sound"


@some
@given(st.integers(1, 300), st.integers(1, 300))
def test_a_log_that_has_shrunk_is_found_with_both_checkpoints(size: int, lost: int) -> None:
    seen, files = checkpoint(LEAVES[: size + lost]), serve(LEAVES[:size])
    with pytest.raises(Contradiction, match=f"shrunk: it had {size + lost:,} entries, and now has {size:,}") as caught:
        audit(files, seen)
    assert caught.value.evidence == (seen, files["checkpoint"])


def test_entries_that_do_not_fit_are_not_called_a_rewritten_history() -> None:
    """Where entries and tiles disagree, the two checkpoints say nothing against each other."""
    seen, files = checkpoint(LEAVES[:290]), dict(SMALL)
    files["tile/entries/001.p/44"] = tiles.format_bundle([*LEAVES[256:280], *entries(1, seed=1), *LEAVES[281:300]])
    with pytest.raises(Contradiction, match=r"Hash 24 of tile/0/001\.p/44 is not that of entry 280") as caught:
        audit(files, seen)
    assert caught.value.evidence == (SMALL["checkpoint"],)


def test_a_checkpoint_of_another_key_is_evidence_and_one_that_is_none_is_not() -> None:
    other = SigningKey(KEY.name, b"\x02" * 32)
    forged = checkpoint(LEAVES[:300], other)
    with pytest.raises(Contradiction, match=r"no valid signature of id\.test/log") as caught:
        audit({**SMALL, "checkpoint": forged})
    assert caught.value.evidence == (forged,)
    with pytest.raises(Contradiction, match="What the log has for a checkpoint is none") as caught:
        audit({**SMALL, "checkpoint": b"<html>"})
    assert caught.value.evidence == ()


def test_a_tile_is_named_where_it_differs_first() -> None:
    name = str(TileName(0, 0))
    hashes = bytearray(SMALL[name])
    hashes[200 * HASH_BYTES] ^= 1
    hashes[100 * HASH_BYTES + 31] ^= 1
    with pytest.raises(Contradiction, match=r"Hash 100 of tile/0/000 is not that of entry 100: one of them was changed"):
        audit({**SMALL, name: bytes(hashes)})
    with pytest.raises(Contradiction, match=r"tile/0/000 is cut short: it has 8,191 bytes and not 8,192"):
        audit({**SMALL, name: SMALL[name][:-1]})
