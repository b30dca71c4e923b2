"""Texts that are nearly right: a valid one with a few things changed that parsers are known to be lax about."""

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import strategies as st

from sydent_py.tlog.text import Malformed

# Digits and spaces of other alphabets, controls, line ends, signs, both base64 alphabets, half a character, a byte order mark.
SUSPECTS = [
    *"\0\t\n\v\f\r\x1b\x1f\x7f\x85 +-_=./,:~x0159afAZ", "\xa0", "\u1680", "\u2003", "\u2028", "\u2029", "\u200b", "\u3000", "\u2013",
    "\u2014", "\ufeff", "\ud800", "\udfff", "\u0661", "\uff11", "\u00b2", "\U0001d7ce", "\U0001f600", "\r\n", "\n\n", "==", ".p/", "x000/",
]  # fmt: skip


def nearly(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The texts, with one to three changes."""
    return st.tuples(texts, st.lists(_ONE_CHANGE, min_size=1, max_size=3)).map(_changed)


def nearly_bytes(texts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """The texts, with one to three changes, in UTF-8 or in what looks like it."""
    changed_text = nearly(texts).map(lambda text: text.encode(errors="surrogatepass"))
    changed_bytes = st.tuples(texts, st.integers(0, 10**6), st.binary(min_size=1, max_size=2)).map(_spliced)
    return changed_text | changed_bytes


def changes_of_one_character(text: str) -> Iterator[str]:
    """Every text that differs from ``text`` in one character that is added, replaced, left out or swapped with the next."""
    with_suspects = itertools.product(["insert", "replace"], range(len(text) + 1), SUSPECTS)
    without = itertools.product(["delete", "swap", "change case"], range(len(text)), [""])
    for kind, at, suspect in itertools.chain(with_suspects, without):
        changed = _CHANGES[kind](text, at, suspect)
        if changed != text:
            yield changed


def assert_canonical(parse: Callable[[str], object], text: str) -> None:
    """That ``text`` is refused, as ``Malformed`` and nothing else, or is what its value is written as."""
    try:
        value = parse(text)
    except Malformed:
        return
    assert str(value) == text


def assert_canonical_bytes(parse: Callable[[bytes], object], encoded: bytes) -> None:
    """The same of a text that comes in bytes."""
    try:
        value = parse(encoded)
    except Malformed:
        return
    assert str(value).encode() == encoded


def assert_refused(parse: Callable[..., object], value: object) -> None:
    """That it is ``Malformed``."""
    with pytest.raises(Malformed):
        parse(value)


def _line(text: str, at: int) -> tuple[str, str, str]:
    """What is before the line that ``at`` is in, the line, and what is after it."""
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at) + 1 or len(text)
    return text[:start], text[start:end], text[end:]


# Each of (text, position, suspect).
_CHANGES: dict[str, Callable[[str, int, str], str]] = {
    "insert": lambda text, at, suspect: text[:at] + suspect + text[at:],
    "replace": lambda text, at, suspect: text[:at] + suspect + text[at + 1 :],
    "delete": lambda text, at, _: text[:at] + text[at + 1 :],
    "swap": lambda text, at, _: text[:at] + text[at : at + 2][::-1] + text[at + 2 :],
    "change case": lambda text, at, _: text[:at] + text[at : at + 1].swapcase() + text[at + 1 :],
    "cut": lambda text, at, _: text[:at],
    "behead": lambda text, at, _: text[at:],
    "add a zero": lambda text, at, _: text[:at] + re.sub(r"[0-9]+", r"0\g<0>", text[at:], count=1),
    "end a line as in DOS": lambda text, at, _: text[:at] + text[at:].replace("\n", "\r\n", 1),
    "drop a line": lambda text, at, _: "".join(_line(text, at)[::2]),
    "repeat a line": lambda text, at, _: "{0}{1}{1}{2}".format(*_line(text, at)),
}
_ONE_CHANGE = st.tuples(st.sampled_from(sorted(_CHANGES)), st.integers(0, 10**6), st.sampled_from(SUSPECTS))


def _changed(drawn: tuple[str, list[tuple[str, int, str]]]) -> str:
    text, changes = drawn
    for kind, position, suspect in changes:
        text = _CHANGES[kind](text, position % (len(text) + 1), suspect)
    return text


def _spliced(drawn: tuple[str, int, bytes]) -> bytes:
    text, position, added = drawn
    encoded = text.encode()
    at = position % (len(encoded) + 1)
    return encoded[:at] + added + encoded[at + position % 2 :]
