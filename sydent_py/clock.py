"""The only reader of time."""

import time
from dataclasses import dataclass
from typing import Protocol

DAY_MS = 86_400_000


class Clock(Protocol):
    """What the rest of the program may ask about time; tests give a fake."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""

    def monotonic_s(self) -> float:
        """Seconds that never jump, to measure a duration with."""

    def sleep_s(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep_s(self, seconds: float) -> None:
        time.sleep(seconds)


def is_recent(at_ms: int, now_ms: int, within_ms: int) -> bool:
    """Whether something was so short a time ago; what is in the future was noted before the clock was set back."""
    return 0 <= now_ms - at_ms < within_ms


@dataclass(frozen=True)
class Deadline:
    """The moment by which a piece of work has to be over, however many steps it takes."""

    clock: Clock
    at_s: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> "Deadline":
        """A deadline ``seconds`` from now."""
        return cls(clock, clock.monotonic_s() + seconds)

    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - self.clock.monotonic_s())
