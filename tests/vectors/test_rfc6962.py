"""The tree that everybody's tests of RFC 6962 share."""

from typing import Any

import pytest

from sydent_py.tlog import merkle, tiles
from tests.vectors.reading import from_hex, read

VECTORS = read("rfc6962")
LEAVES, ROOTS = from_hex(VECTORS["leaves"]), [bytes.fromhex(VECTORS["empty_root"]), *from_hex(VECTORS["roots"])]


def hash_at(level: int, index: int) -> bytes:
    """Out of the one tile that the tree has."""
    (tile,) = tiles.grow(0, [], list(map(merkle.leaf_hash, LEAVES)))
    return tiles.hashes_from(lambda _level, _index: tile.hashes)(level, index)


@pytest.mark.parametrize("size", range(9))
def test_roots(size: int) -> None:
    assert merkle.root(size, hash_at) == ROOTS[size]


@pytest.mark.parametrize("proof", VECTORS["inclusion"])
def test_inclusion_proofs(proof: dict[str, Any]) -> None:
    index, size, path = proof["index"], proof["size"], from_hex(proof["path"])
    assert merkle.inclusion_proof(index, size, hash_at) == path
    assert merkle.proves_inclusion(merkle.leaf_hash(LEAVES[index]), index, size, path, ROOTS[size])


@pytest.mark.parametrize("proof", VECTORS["consistency"])
def test_consistency_proofs(proof: dict[str, Any]) -> None:
    old, new, path = proof["old"], proof["new"], from_hex(proof["path"])
    assert merkle.consistency_proof(old, new, hash_at) == path
    assert merkle.proves_consistency(old, new, path, ROOTS[old], ROOTS[new])
