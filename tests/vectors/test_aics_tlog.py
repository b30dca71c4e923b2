"""What the independent implementation makes of the same entries, keys and texts; tests/tlog asks it itself where it is installed."""

import hashlib
import itertools
from typing import Any

import pytest

from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import open_checkpoint
from sydent_py.tlog.cosignature import WitnessKey, cosigned_at
from sydent_py.tlog.note import Note, SigningKey
from sydent_py.tlog.tiles import TileName
from tests.vectors.reading import from_base64, read

VECTORS = read("aics_tlog")
TREE = VECTORS["tree"]
ENTRIES = [str(number).encode() for number in range(TREE["roots"][-1][0])]
ROOTS = {size: from_base64([root])[0] for size, root in TREE["roots"]}


@pytest.fixture(scope="module")
def hash_at() -> merkle.HashAt:
    stored = {(tile.level, tile.index): tile.hashes for tile in tiles.grow(0, [], list(map(merkle.leaf_hash, ENTRIES)))}
    return tiles.hashes_from(lambda level, index: stored[level, index])


def files_of(size: int) -> dict[str, bytes]:
    """All the tiles and bundles of the first entries."""
    grown = tiles.grow(0, [], [merkle.leaf_hash(entry) for entry in ENTRIES[:size]])
    bundles = [ENTRIES[:size][start : start + tiles.WIDTH] for start in range(0, size, tiles.WIDTH)]
    hashes = {str(TileName(tile.level, tile.index, len(tile.hashes) // 32)): tile.hashes for tile in grown}
    entries = {str(TileName(None, index, len(bundle))): tiles.format_bundle(bundle) for index, bundle in enumerate(bundles)}
    return hashes | entries


def digest(files: dict[str, bytes]) -> str:
    lines = [f"{path} {hashlib.sha256(content).hexdigest()}\n" for path, content in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_roots(hash_at: merkle.HashAt) -> None:
    assert {size: merkle.root(size, hash_at) for size in ROOTS} == ROOTS


@pytest.mark.parametrize(("index", "size", "path"), TREE["inclusion"])
def test_inclusion_proofs(index: int, size: int, path: list[str], hash_at: merkle.HashAt) -> None:
    assert merkle.inclusion_proof(index, size, hash_at) == from_base64(path)
    root = merkle.root(size, hash_at)
    assert merkle.proves_inclusion(merkle.leaf_hash(ENTRIES[index]), index, size, from_base64(path), root)


@pytest.mark.parametrize(("old", "new", "path"), TREE["consistency"])
def test_consistency_proofs(old: int, new: int, path: list[str], hash_at: merkle.HashAt) -> None:
    assert merkle.consistency_proof(old, new, hash_at) == from_base64(path)
    roots = merkle.root(old, hash_at), merkle.root(new, hash_at)
    assert merkle.proves_consistency(old, new, from_base64(path), *roots)


@pytest.mark.parametrize(("size", "count", "expected"), TREE["tiles"])
def test_tiles_and_bundles(size: int, count: int, expected: str) -> None:
    files = files_of(size)
    assert (len(files), digest(files)) == (count, expected)


def test_names_of_tiles() -> None:
    for *name, path in VECTORS["tile_names"]:
        assert str(TileName(*name)) == path
        assert TileName.parse(path) == TileName(*name)


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda vector: vector["name"])
def test_keys_notes_checkpoints_and_cosignatures(vector: dict[str, Any]) -> None:
    seed = bytes.fromhex(vector["seed"])
    log, witness = SigningKey(vector["name"], seed), WitnessKey(vector["name"], seed)
    assert (str(log.verifier_key), str(witness.verifier_key)) == (vector["log_key"], vector["witness_key"])
    for text, note in vector["notes"]:
        assert str(log.sign(text)) == note
        assert Note.parse(note.encode()).is_signed_by(log.verifier_key)
    for time_s, encoded in vector["cosigned"]:
        note = Note.parse(encoded.encode())
        assert str(open_checkpoint(encoded.encode(), log.verifier_key)) == note.text
        assert cosigned_at(note, witness.verifier_key) == time_s
        assert str(Note(note.text, (*log.sign(note.text).signatures, witness.cosign(note.text, time_s)))) == encoded


def test_a_proof_that_is_changed_is_refused(hash_at: merkle.HashAt) -> None:
    """So that none of the above holds for want of looking."""
    index, size, path = TREE["inclusion"][-1]
    path, leaf, root = from_base64(path), merkle.leaf_hash(ENTRIES[index]), ROOTS[size]
    for number in range(len(path)):
        assert not merkle.proves_inclusion(leaf, index, size, [*path[:number], bytes(32), *path[number + 1 :]], root)
    for one, other in itertools.pairwise(size for size in ROOTS if size):
        proof = merkle.consistency_proof(one, other, hash_at)
        assert merkle.proves_consistency(one, other, proof, ROOTS[one], ROOTS[other])
        assert not merkle.proves_consistency(one, other, proof, ROOTS[other], ROOTS[one])
