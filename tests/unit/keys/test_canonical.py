"""Canonical JSON with the standard library alone is what the library of the Matrix project writes."""

import json

import pytest
from canonicaljson import encode_canonical_json
from hypothesis import given
from hypothesis import strategies as st
from unpaddedbase64 import encode_base64

from sydent_py.keys.canonical import MAX_INTEGER, NotCanonical, decode_base64, encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXTS,
    lambda values: st.lists(values) | st.dictionaries(TEXTS, values),
    max_leaves=30,
)


@given(VALUES)
def test_it_is_what_canonicaljson_writes(value: object) -> None:
    assert encode(value) == encode_canonical_json(value)
    assert json.loads(encode(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        1.0, float("nan"), float("inf"), 2**53, -(2**53), 10**400, "\ud800", {"\udfff": 1}, "\0", {"\0": 1}, {1: 2}, {None: 1},
        (1,), b"x", {1}, [{"a": [1.5]}],
    ],
    ids=repr,
)  # fmt: skip
def test_what_cannot_be_signed_is_refused_with_one_error(value: object) -> None:
    with pytest.raises(NotCanonical):
        encode(value)
    with pytest.raises(NotCanonical):
        encode({"a": [value]})


def nested(depth: int) -> object:
    value: object = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_nesting_ends_where_that_of_requests_does() -> None:
    assert encode(nested(32))
    for depth in (33, 100_000):
        with pytest.raises(NotCanonical):
            encode(nested(depth))


@given(st.binary(min_size=32, max_size=32))
def test_base64_is_read_as_it_was_written(value: bytes) -> None:
    assert decode_base64(encode_base64(value), 32) == value
    assert decode_base64(encode_base64(value), 31) is None


@pytest.mark.parametrize(
    "text",
    [
        "A" * 43 + "=", "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "\n", "A" * 20 + "\n" + "A" * 23, "-" * 43, "é" * 43, "\ud800" * 43, "", None, 7,
        ["A"], b"A" * 43, "A" * 10_000,
    ],
    ids=lambda text: repr(text)[:20],
)  # fmt: skip
def test_base64_that_could_be_written_in_another_way_is_refused(text: object) -> None:
    assert decode_base64(text, 32) is None
