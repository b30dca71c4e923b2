"""Numbers, base64 and hashes, each in its one spelling."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.tlog.text import Malformed, format_base64, parse_base64, parse_hash, parse_number
from tests.unit.tlog.fuzzing import SUSPECTS, assert_refused, nearly


@given(st.integers(0, 2**63 - 1))
def test_a_number_comes_back_as_it_was_written(number: int) -> None:
    assert parse_number(str(number)) == number


@given(st.text(max_size=25) | nearly(st.integers(0, 2**70).map(str)))
def test_any_text_is_a_number_in_its_one_spelling_or_malformed(text: str) -> None:
    try:
        number = parse_number(text)
    except Malformed:
        return
    assert str(number) == text
    assert 0 <= number < 2**63


@pytest.mark.parametrize("text", [
    "", "00", "01", "007", "+1", "-1", "-0", " 1", "1 ", "1\n", "\n1", "1\r", "1\0", "1_000", "1,000", "1.0", "1e3", "0x1", "0b1", "1L",
    str(2**63), str(2**64), "9" * 19, "9" * 20, "9" * 5_000, "１", "١", "²", "\U0001d7ce", "one", "\ufeff1", "1\ud800", "\u20091",
])  # fmt: skip
def test_what_is_no_number(text: str) -> None:
    assert_refused(parse_number, text)


@given(st.binary(max_size=100))
def test_bytes_come_back_as_they_were_written(value: bytes) -> None:
    assert parse_base64(format_base64(value)) == value
    assert format_base64(value) == base64.b64encode(value).decode()


@given(
    st.text(max_size=25)
    | nearly(st.binary(max_size=20).map(format_base64))
    | st.text(st.sampled_from("AQ+/=-_\n "), max_size=8)
)
def test_any_text_is_base64_in_its_one_spelling_or_malformed(text: str) -> None:
    try:
        value = parse_base64(text)
    except Malformed:
        return
    assert base64.b64encode(value).decode() == text


@pytest.mark.parametrize("text", [
    "=", "A", "AA", "AA=", "AA===", "AAA", "AAA==", "AAAA=", "AAAA====", "AB==", "AAB=", "A===", "====", "-_-_", "AA-_", "AA==\n", "\nAA==",
    "AA ==", "A\nA==", "AA==AA==", "AA=A", "AAAA\r\n", "AAAA\0", "ＡＡＡＡ", "AAA\ud800", "\ufeffAAAA", "AAAA ", "AAA\u00e9", "%41%41%3D%3D",
])  # fmt: skip
def test_what_is_not_base64(text: str) -> None:
    """Padding missing or too much, unused bits that are set, the alphabet for URLs, white space."""
    assert_refused(parse_base64, text)


@pytest.mark.parametrize("suspect", SUSPECTS)
def test_nothing_may_be_added_to_a_hash(suspect: str) -> None:
    text = format_base64(bytes(range(32)))
    assert parse_hash(text) == bytes(range(32))
    for at in range(len(text) + 1):
        assert_refused(parse_hash, text[:at] + suspect + text[at:])


@pytest.mark.parametrize("length", [0, 1, 16, 31, 33, 48, 64])
def test_a_hash_has_32_bytes(length: int) -> None:
    assert_refused(parse_hash, format_base64(bytes(length)))
