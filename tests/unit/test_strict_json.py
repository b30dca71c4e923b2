import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py import strict_json
from sydent_py.errors import BadJson, NotJson

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-strict_json.MAX_INTEGER, strict_json.MAX_INTEGER)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text('abcü"\\', max_size=5), inner))


@given(value=VALUES, ascii_only=st.booleans())
def test_every_storable_value_comes_back_as_it_was_written(*, value: object, ascii_only: bool) -> None:
    assert strict_json.parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_bytes_are_parsed_or_refused_and_nothing_else_happens(body: bytes) -> None:
    try:
        strict_json.parse_object(body)
    except (NotJson, BadJson):
        return


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"NaN", b'{"a":NaN}', b"Infinity", b"-Infinity", b"{'a':1}", b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), b'{"a":"\xff"}',
     b'{"a":"\x01"}', b"{} {}", b'"\\', b'{"a":01}', b"[" * 20 + b'"' * 5],
)  # fmt: skip
def test_what_is_not_json_is_not_json(body: bytes) -> None:
    with pytest.raises(NotJson):
        strict_json.parse(body)


@pytest.mark.parametrize(
    "body",
    [b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b'{"a":"\\ud800"}', b'{"\\udfff":1}', b'{"a":["\\u0000"]}', b"9007199254740992",
     b"-9007199254740992", b"1" * 5000, b"1e999", b"[" * 33 + b"]" * 33, b'{"a":' * 33 + b"1" + b"}" * 33, b"[" * 1_000_000],
)  # fmt: skip
def test_json_that_cannot_be_stored_or_signed_is_bad_json(body: bytes) -> None:
    with pytest.raises(BadJson):
        strict_json.parse(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
def test_a_body_is_an_object(body: bytes) -> None:
    with pytest.raises(BadJson):
        strict_json.parse_object(body)


def test_32_levels_and_brackets_in_strings_are_fine() -> None:
    assert strict_json.parse(b"[" * 32 + b"]" * 32)
    text = '[{"' * 100
    assert strict_json.parse(json.dumps({"a": text, "b": [{}] * 40}).encode())["a"] == text


def test_escaped_pairs_are_one_character() -> None:
    assert strict_json.parse(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.timeout(10)
def test_a_megabyte_of_quotes_is_scanned_once() -> None:
    for body in (b"[" * 40 + b'\\"' * 500_000, b"[" * 40 + b'"' + b'\\"' * 500_000, b"[" * 40 + b'"\\' * 300_000):
        with pytest.raises(BadJson):
            strict_json.parse(body)
