"""The digest by which two servers find where their sets of bindings differ."""

import hashlib
import random

from hypothesis import given
from hypothesis import strategies as st

from sydent_py.homeservers.digest import Bucket, binding_hash, bucket_of, buckets_of
from sydent_py.identifiers import EMAIL, ThreePid

HASHES = st.sets(st.integers(0, 5000), max_size=60).map(
    lambda numbers: {hashlib.sha256(str(number).encode()).digest() for number in numbers}
)


def test_the_hash_and_the_bucket_are_those_of_the_contract() -> None:
    binding = binding_hash(ThreePid(EMAIL, "alice@example.org"), "@alice:hs.test")
    assert binding == hashlib.sha256(b"email alice@example.org @alice:hs.test").digest()
    assert bucket_of(binding) == binding.hex()[:2]
    assert buckets_of([binding]) == {bucket_of(binding): Bucket(1, binding.hex())}


def test_two_hashes_of_a_bucket_are_joined_by_xor() -> None:
    one, two = bytes([7] * 32), bytes([7] + [1] * 31)
    assert buckets_of([one, two]) == {"07": Bucket(2, "00" + "06" * 31)}


def test_an_empty_set_has_no_buckets() -> None:
    assert buckets_of([]) == {}


@given(HASHES, st.randoms())
def test_the_order_does_not_matter(hashes: set[bytes], order: random.Random) -> None:
    shuffled = sorted(hashes)
    order.shuffle(shuffled)
    assert buckets_of(shuffled) == buckets_of(sorted(hashes))


@given(HASHES, HASHES)
def test_exactly_the_buckets_that_differ_are_found(ours: set[bytes], theirs: set[bytes]) -> None:
    here, there = buckets_of(ours), buckets_of(theirs)
    differing = {name for name in here.keys() | there.keys() if here.get(name) != there.get(name)}
    assert differing == {bucket_of(each) for each in ours ^ theirs}
    assert sum(bucket.count for bucket in here.values()) == len(ours)
