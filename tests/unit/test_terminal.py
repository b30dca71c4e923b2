"""What commands write to a terminal."""

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sydent_py.cli.terminal import printable, printable_lines, progress
from tests.fakes.clock import FakeClock


@settings(deadline=None)
@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_printed(text: str) -> None:
    for shown in (printable(text), printable_lines(text).replace("\n", "")):
        assert all(unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for character in shown)
    assert printable_lines(text).count("\n") == text.count("\n")


def test_text_stays_as_it_is() -> None:
    assert printable("Grüße, 你好 — 🎉 a\\b") == "Grüße, 你好 — 🎉 a\\b"
    assert printable("a\x1b[31m\n\u202eb") == "a\\x1b[31m\\n\\u202eb"


def test_a_terminal_of_another_encoding_gets_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    class Latin1:
        encoding = "latin-1"

    monkeypatch.setattr(sys, "stdout", Latin1())
    assert printable("ü — x") == "ü \\u2014 x"


def test_a_long_job_says_now_and_then_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()
    with progress("Entries verified", clock) as show:
        for done in range(0, 30_000, 1_000):
            clock.advance(1)
            show(done, 100_000)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [f"Entries verified: {done},000 of 100,000" for done in (9, 19, 29)]
