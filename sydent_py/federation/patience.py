"""Waiting for homeservers that strangers name: on few threads, and without telling what our network looks like."""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

import structlog

from sydent_py.clock import Clock
from sydent_py.errors import LimitExceeded, Unknown
from sydent_py.federation.transport import RequestFailed
from sydent_py.identifiers import ServerName

# A failure is told after one second, or after the eleven that the slowest one takes, and at no other time.
FAST_FAILURE_S = 1.0
SLOW_FAILURE_S = 11.0

# How long a request waits while as many as are allowed ask homeservers, and when its client should come back.
WAIT_FOR_SLOT_S = 0.5
RETRY_AFTER_MS = 2000

log = structlog.get_logger(__name__)


class Slots:
    """The threads that may wait for homeservers at once.

    Half of all there are, because a stranger decides how long a homeserver takes, and somebody has to answer everyone else;
    and for one client network half of those, so that it does not take them from all others.
    """

    def __init__(self, threads: int) -> None:
        self._most = max(1, threads // 2)
        self._most_of_one = max(1, self._most // 2)
        self._taken: Counter[str] = Counter()
        self._changed = Condition()

    def take(self, network: str, timeout_s: float) -> bool:
        """Take one, or wait for one to become free: whether there was one in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_free(network), timeout_s):
                return False
            self._taken[network] += 1
            return True

    def give_back(self, network: str) -> None:
        """Give one back."""
        with self._changed:
            self._taken[network] -= 1
            self._taken += Counter()  # networks that wait for nobody are forgotten
            self._changed.notify_all()

    def _has_free(self, network: str) -> bool:
        return self._taken.total() < self._most and self._taken[network] < self._most_of_one


@contextmanager
def patience(server: ServerName, network: str, clock: Clock, slots: Slots) -> Iterator[None]:
    """Around asking ``server``, which whoever sent the request from ``network`` has named, while that request waits.

    Raises ``LimitExceeded`` where no slot gets free, and turns ``RequestFailed`` into one and the same ``Unknown`` (502),
    whatever the reason: a stranger must not learn what our network looks like from the answer or from the time it took.
    """
    if not slots.take(network, WAIT_FOR_SLOT_S):
        raise LimitExceeded(RETRY_AFTER_MS, "Too many requests wait for homeservers. Please try again in a moment.")
    started_s = clock.monotonic_s()
    try:
        yield
    except RequestFailed as failure:
        log.warning("homeserver.not_asked", homeserver=str(server), reason=failure.reason)
        _wait_to_tell(clock, started_s)
        raise Unknown("The homeserver could not be asked. Please try again later.", status=502) from failure
    finally:
        slots.give_back(network)


def _wait_to_tell(clock: Clock, started_s: float) -> None:
    elapsed_s = clock.monotonic_s() - started_s
    tell_at_s = next((at_s for at_s in (FAST_FAILURE_S, SLOW_FAILURE_S) if elapsed_s <= at_s), math.ceil(elapsed_s))
    clock.sleep_s(tell_at_s - elapsed_s)
