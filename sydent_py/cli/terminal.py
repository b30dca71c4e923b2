"""What commands write to a terminal: text that does nothing but show, and how far a long job is."""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sydent_py.clock import Clock

REPORT_EVERY_S = 10.0
# Control, format (zero width, bidi), surrogate, private use, what this Python's Unicode does not know, separators of lines.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """``text``, which may be a stranger's, in one line of visible characters: what a terminal might act on is escaped."""
    return "".join(map(_visible, text))


def printable_lines(text: str) -> str:
    """The same, but that newlines stay."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: Any) -> str:
    """``value`` in JSON, without the one control character that JSON leaves as it is."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


@contextmanager
def progress(what: str, clock: Clock) -> Iterator[Callable[[int, int], None]]:
    """Shows ``(done, total)`` on standard error: as a bar on a terminal, as a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines(what, clock)
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """A line every ten seconds."""

    def __init__(self, what: str, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._next_s = clock.monotonic_s() + REPORT_EVERY_S

    def __call__(self, done: int, total: int) -> None:
        if self._clock.monotonic_s() < self._next_s:
            return
        self._next_s = self._clock.monotonic_s() + REPORT_EVERY_S
        sys.stderr.write(f"{self._what}: {done:,} of {total:,}\n")


def _visible(character: str) -> str:
    if unicodedata.category(character) in _HIDDEN or not _fits(character):
        return character.encode("unicode_escape").decode("ascii")
    return character


def _fits(character: str) -> bool:
    """Whether the terminal's encoding has it."""
    try:
        character.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
