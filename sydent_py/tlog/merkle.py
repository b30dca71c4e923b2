"""The Merkle tree of a log (RFC 6962, section 2.1): hashes, and proofs made and checked."""

import hashlib
from collections.abc import Callable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()

HashAt = Callable[[int, int], bytes]
"""The hash of the complete subtree at ``(level, index)``: of the entries from ``index * 2**level``, ``2**level`` of them."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees, the left one being complete and at least as large."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes that are all of one level."""
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def root(size: int, hash_at: HashAt) -> bytes:
    """The root of the tree of the first ``size`` entries."""
    return _range_hash(0, size, hash_at) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, hash_at: HashAt) -> list[bytes]:
    """That the entry at ``index`` is in the tree of ``size`` (section 2.1.1), the leaf's sibling first."""
    if not 0 <= index < size:
        raise ValueError(f"no entry {index} in a tree of {size}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, hash_at))
            end = middle
        else:
            path.append(_range_hash(start, middle, hash_at))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, hash_at: HashAt) -> list[bytes]:
    """That the tree of ``new`` entries begins with the tree of ``old`` (section 2.1.2)."""
    if not 0 <= old <= new:
        raise ValueError(f"no tree of {old} in a tree of {new}")
    if old == 0:
        return []
    path, start, end = [], 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(middle, end, hash_at))
            end = middle
        else:
            path.append(_range_hash(start, middle, hash_at))
            start = middle
    # Whoever checks the proof knows the old root, and so no subtree that begins with the first entry.
    return ([_range_hash(start, end, hash_at)] if start else []) + path[::-1]


def proves_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Whether ``path`` shows the leaf hash ``leaf`` at ``index`` under ``expected_root`` (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if node % 2 == 1 or node == last:
            value = node_hash(sibling, value)
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and value == expected_root


def proves_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether ``path`` shows that the tree under ``new_root`` begins with the one under ``old_root`` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    if not path:
        return False
    # A complete old tree is a subtree of the new one: its root is where the path begins.
    first, *rest = path if old & (old - 1) else (old_root, *path)
    node, last = old - 1, new - 1
    while node % 2 == 1:
        node, last = node >> 1, last >> 1
    old_value = new_value = first
    for sibling in rest:
        if last == 0:
            return False
        if node % 2 == 1 or node == last:
            old_value, new_value = node_hash(sibling, old_value), node_hash(sibling, new_value)
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            new_value = node_hash(new_value, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old_value == old_root and new_value == new_root


def prefix_root(old: int, new: int, new_root: bytes, hash_at: HashAt) -> bytes | None:
    """The root of the first ``old`` entries of the tree under ``new_root``; None where ``hash_at`` is not of that tree."""
    found = root(old, hash_at)
    path = consistency_proof(old, new, hash_at)
    return found if proves_consistency(old, new, path, found, new_root) else None


def _range_hash(start: int, end: int, hash_at: HashAt) -> bytes:
    """The root over the entries from ``start`` to ``end``, a range that the tree is split into somewhere."""
    size = end - start
    if size & (size - 1) == 0:
        return hash_at(size.bit_length() - 1, start // size)
    middle = start + _split(size)
    return node_hash(_range_hash(start, middle, hash_at), _range_hash(middle, end, hash_at))


def _split(size: int) -> int:
    """The size of the left subtree: the largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1
