"""CPU time of other processes, to the microsecond (Linux)."""

import time
from collections.abc import Iterable


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time of all threads of ``pids`` together, living and ended, in seconds.

    The kernel's clock of each process, because /proc counts in ticks of 10 ms, which is as long as thirty requests.
    """
    return sum(time.clock_gettime(_clock(pid)) for pid in pids)


def _clock(pid: int) -> int:
    """What clock_getcpuclockid(3) computes."""
    return ~pid << 3 | 2
