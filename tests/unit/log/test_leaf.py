"""An entry is canonical JSON that can be written in one way alone."""

import json
from typing import get_args

import pytest
from canonicaljson import encode_canonical_json
from hypothesis import given
from hypothesis import strategies as st
from unpaddedbase64 import encode_base64

from sydent_py.log.leaf import MAX_TS, Kind, Leaf, NotALeaf

LEAVES = st.builds(
    Leaf, st.sampled_from([*get_args(Kind), "key_revoke"]), st.integers(0, MAX_TS), st.binary(min_size=32, max_size=32)
)


@given(LEAVES)
def test_a_leaf_is_canonical_json_and_is_read_as_it_was_written(leaf: Leaf) -> None:
    fields = {"v": 1, "kind": leaf.kind, "ts": leaf.ts, "commitment": encode_base64(leaf.commitment)}
    assert leaf.encode() == encode_canonical_json(fields)
    assert Leaf.parse(leaf.encode()) == leaf


@given(LEAVES, st.data())
def test_every_other_writing_is_refused_or_another_leaf(leaf: Leaf, data: st.DataObject) -> None:
    encoded = leaf.encode()
    place = data.draw(st.integers(0, len(encoded)))
    changed = encoded[:place] + data.draw(st.binary(max_size=3)) + encoded[place + data.draw(st.integers(0, 3)) :]
    try:
        read = Leaf.parse(changed)
    except NotALeaf:
        return
    assert read.encode() == changed
    assert (read == leaf) is (changed == encoded)


@given(st.binary(max_size=200))
def test_anything_else_is_refused_with_one_error(encoded: bytes) -> None:
    with pytest.raises(NotALeaf):
        Leaf.parse(encoded)


COMMITMENT = encode_base64(bytes(32))


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2, "kind": "bind", "ts": 1, "commitment": COMMITMENT},
        {"v": 1, "kind": "Bind", "ts": 1, "commitment": COMMITMENT},
        {"v": 1, "kind": "", "ts": 1, "commitment": COMMITMENT},
        {"v": 1, "kind": "b" * 33, "ts": 1, "commitment": COMMITMENT},
        {"v": 1, "kind": 1, "ts": 1, "commitment": COMMITMENT},
        {"v": 1, "kind": "bind", "ts": -1, "commitment": COMMITMENT},
        {"v": 1, "kind": "bind", "ts": 1.0, "commitment": COMMITMENT},
        {"v": 1, "kind": "bind", "ts": "1", "commitment": COMMITMENT},
        {"v": 1, "kind": "bind", "ts": True, "commitment": COMMITMENT},
        {"v": 1, "kind": "bind", "ts": 2**53, "commitment": COMMITMENT},
        {"v": 1, "kind": "bind", "ts": 10**16, "commitment": COMMITMENT},
        {"v": 1, "kind": "bind", "ts": 1, "commitment": COMMITMENT + "="},
        {"v": 1, "kind": "bind", "ts": 1, "commitment": COMMITMENT[:-1]},
        {"v": 1, "kind": "bind", "ts": 1, "commitment": COMMITMENT[:-1] + "B"},
        {"v": 1, "kind": "bind", "ts": 1, "commitment": None},
        {"v": 1, "kind": "bind", "ts": 1},
        {"v": 1, "kind": "bind", "ts": 1, "commitment": COMMITMENT, "more": 1},
    ],
)
def test_what_no_log_of_this_kind_writes_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(NotALeaf):
        Leaf.parse(json.dumps(fields, separators=(",", ":"), sort_keys=True).encode())
