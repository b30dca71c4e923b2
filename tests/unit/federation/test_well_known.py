"""How long delegations are remembered, and how many."""

from email.message import Message
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.federation.well_known import (
    DEFAULT_LIFETIME_S,
    MAX_LIFETIME_S,
    MAX_NAMES,
    MIN_LIFETIME_S,
    Delegation,
    DelegationCache,
    lifetime_s,
)

NOW_MS = 1_800_000_000_000
HEADER_TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"))


def headers(**values: str) -> Message:
    message = Message()
    for name, value in values.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("given_headers", "expected_s"),
    [
        ({}, DEFAULT_LIFETIME_S),
        ({"Cache_Control": "public"}, DEFAULT_LIFETIME_S),
        ({"Cache_Control": "public, Max-Age = 3600"}, 3600),
        ({"Cache_Control": 'max-age="3600"'}, 3600),
        ({"Cache_Control": "s-maxage=7200"}, DEFAULT_LIFETIME_S),
        ({"Cache_Control": "max-age=0"}, MIN_LIFETIME_S),
        ({"Cache_Control": "max-age=1"}, MIN_LIFETIME_S),
        ({"Cache_Control": "max-age=172801"}, MAX_LIFETIME_S),
        ({"Cache_Control": "max-age=" + "9" * 5000}, MAX_LIFETIME_S),
        ({"Cache_Control": "max-age=" + "0" * 5000}, MIN_LIFETIME_S),
        ({"Cache_Control": "no-store, max-age=3600"}, MIN_LIFETIME_S),
        ({"Cache_Control": "no-cache"}, MIN_LIFETIME_S),
        ({"Expires": formatdate(NOW_MS / 1000 + 3600, usegmt=True)}, 3600),
        ({"Expires": formatdate(NOW_MS / 1000 + 3600)}, 3600),
        ({"Expires": formatdate(NOW_MS / 1000 - 3600, usegmt=True)}, MIN_LIFETIME_S),
        ({"Expires": "0"}, MIN_LIFETIME_S),
        ({"Cache_Control": "max-age=7200", "Expires": formatdate(NOW_MS / 1000 + 3600, usegmt=True)}, 7200),
    ],
)
def test_the_lifetime_is_what_the_server_says_within_bounds(given_headers: dict[str, str], expected_s: float) -> None:
    assert lifetime_s(headers(**given_headers), NOW_MS) == expected_s


@given(HEADER_TEXT | st.integers().map("max-age={}".format), HEADER_TEXT | st.datetimes().map(str))
def test_no_header_breaks_the_bounds(cache_control: str, expires: str) -> None:
    assert MIN_LIFETIME_S <= lifetime_s(headers(Cache_Control=cache_control), NOW_MS) <= MAX_LIFETIME_S
    assert MIN_LIFETIME_S <= lifetime_s(headers(Expires=expires), NOW_MS) <= MAX_LIFETIME_S


def test_the_cache_forgets_what_nobody_asked_for_longest() -> None:
    cache, delegation = DelegationCache(), Delegation(None, 600, 600)
    for number in range(MAX_NAMES):
        cache.put(f"{number}.example", delegation)
    assert cache.get("0.example") is delegation
    cache.put("one-more.example", delegation)
    assert cache.get("0.example") is delegation
    assert cache.get("one-more.example") is delegation
    assert cache.get("1.example") is None


@given(st.lists(st.integers(0, 3 * MAX_NAMES), max_size=200))
def test_the_cache_stays_within_its_size(asked: list[int]) -> None:
    cache = DelegationCache()
    for number in [*range(MAX_NAMES), *asked]:
        cache.put(f"{number}.example", Delegation(None, 600, 600))
    remembered = [number for number in range(3 * MAX_NAMES + 1) if cache.get(f"{number}.example")]
    assert len(remembered) == MAX_NAMES
    assert set(asked) <= set(remembered)
