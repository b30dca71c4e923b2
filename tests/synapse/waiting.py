"""Waiting for what happens in other processes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], what: str, within_s: float = 30) -> T:
    """The first true answer of ``probe``; ``what`` says what was waited for in vain."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := probe():
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.1)


def throughout(probe: Callable[[], bool], what: str, for_s: float = 5) -> None:
    """Make sure that ``probe`` stays true; ``what`` says what has ended too early."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert probe(), what
        time.sleep(0.1)
