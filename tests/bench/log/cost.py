"""What a piece of work costs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import getpid

from tests.bench.cpu import cpu_s


class WrongResult(Exception):
    """What was measured did not do its work."""


@dataclass(frozen=True)
class Cost:
    """Of ``count`` entries together: time on the clock, and CPU time of the process and of those of the database."""

    count: int
    elapsed_s: float
    cpu_s: float
    backend_cpu_s: float = 0.0

    @property
    def all_cpu_s(self) -> float:
        """Of one entry, in all processes."""
        return (self.cpu_s + self.backend_cpu_s) / self.count


def cost_of(work: Callable[[], object], count: int, backends: Sequence[int] = ()) -> Cost:
    """Do ``work``, which is on so many entries."""
    before_s = time.perf_counter(), cpu_s([getpid()]), cpu_s(backends)
    work()
    after_s = time.perf_counter(), cpu_s([getpid()]), cpu_s(backends)
    elapsed_s, own_s, backend_s = (after - before for after, before in zip(after_s, before_s, strict=True))
    return Cost(count, elapsed_s, own_s, backend_s)
