"""A short description of a set of bindings, by which two servers find where theirs differ; with no I/O."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sydent_py.identifiers import ThreePid

HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many bindings' hashes begin with the two digits of a bucket, and the XOR of them all, in hexadecimal."""

    count: int
    digest: str


def binding_hash(threepid: ThreePid, user_id: str) -> bytes:
    """The SHA-256 of ``<medium> <address> <mxid>``."""
    return hashlib.sha256(f"{threepid.medium} {threepid.address} {user_id}".encode()).digest()


def bucket_of(binding: bytes) -> str:
    """The bucket of a binding's hash: its first two hexadecimal digits."""
    return f"{binding[0]:02x}"


def buckets_of(bindings: Iterable[bytes]) -> dict[str, Bucket]:
    """The buckets of a set of hashes in which there are any, by name, in whatever order the hashes come."""
    counts, digests = [0] * 256, [0] * 256
    for each in bindings:
        counts[each[0]] += 1
        digests[each[0]] ^= int.from_bytes(each, "big")
    return {
        f"{first:02x}": Bucket(count, digest.to_bytes(HASH_BYTES, "big").hex())
        for first, (count, digest) in enumerate(zip(counts, digests, strict=True))
        if count
    }
