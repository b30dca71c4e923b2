"""The Merkle tree as RFC 6962, section 2.1, defines it: recursive, slow, and written from the RFC alone."""

import hashlib
from collections.abc import Sequence

Entries = Sequence[bytes]


def mth(entries: Entries) -> bytes:
    """Section 2.1: MTH(D[n])."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = split(len(entries))
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: Entries) -> list[bytes]:
    """Section 2.1.1: PATH(m, D[n])."""
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m: int, entries: Entries) -> list[bytes]:
    """Section 2.1.2: PROOF(m, D[n])."""
    return subproof(m, entries, complete=True)


def subproof(m: int, entries: Entries, *, complete: bool) -> list[bytes]:
    """Section 2.1.2: SUBPROOF(m, D[n], b)."""
    if m == len(entries):
        return [] if complete else [mth(entries)]
    k = split(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], complete=complete), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], complete=False), mth(entries[:k])]


def split(size: int) -> int:
    """The largest power of two smaller than ``size``."""
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def way_up(m: int, size: int) -> str:
    """On which side of the way from entry ``m`` to the root each hash of PATH(m, D[n]) is."""
    if size == 1:
        return ""
    k = split(size)
    return way_up(m, k) + "R" if m < k else way_up(m - k, size - k) + "L"


def ways_up(m: int, size: int, *, complete: bool = True) -> str:
    """The same for PROOF(m, D[n]), after how it begins: with the old root, which the proof has not, or with a hash of its own."""
    if m == size:
        return "old root:" if complete else "hash:"
    k = split(size)
    if m <= k:
        return ways_up(m, k, complete=complete) + "R"
    return ways_up(m - k, size - k, complete=False) + "L"
