"""Sets of bindings compared without sending them: an XOR of hashes for each of 256 buckets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sydent_py.synapse.binding import Binding

HASH_BYTES = 32


@dataclass
class Bucket:
    """How many bindings are in it, and the XOR of their hashes."""

    count: int = 0
    digest: int = 0

    def add(self, binding: Binding) -> None:
        """Count ``binding``."""
        self.count += 1
        self.digest ^= int.from_bytes(binding.hash, "big")

    @property
    def wire(self) -> dict[str, Any]:
        """As the two servers exchange it."""
        return {"count": self.count, "digest": self.digest.to_bytes(HASH_BYTES, "big").hex()}


@dataclass
class Digest:
    """Of a whole set; buckets without bindings are left out."""

    buckets: dict[str, Bucket] = field(default_factory=dict)

    @classmethod
    def of(cls, bindings: Iterable[Binding]) -> "Digest":
        """The digest of ``bindings``."""
        digest = cls()
        for binding in bindings:
            digest.add(binding)
        return digest

    def add(self, binding: Binding) -> None:
        """Count ``binding`` in its bucket."""
        self.buckets.setdefault(binding.bucket, Bucket()).add(binding)

    @property
    def wire(self) -> dict[str, dict[str, Any]]:
        """As the two servers exchange it."""
        return {name: bucket.wire for name, bucket in sorted(self.buckets.items())}

    def differing(self, theirs: Mapping[str, Any]) -> list[str]:
        """The buckets that are not the same in ``theirs``, which is in the form of ``wire``."""
        ours = self.wire
        return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
