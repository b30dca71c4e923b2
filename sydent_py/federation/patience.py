"""Waiting for homeservers that strangers name: on few threads, and without telling what our network looks like."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

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


@contextmanager
def patience(server: ServerName, clock: Clock, slots: BoundedSemaphore) -> Iterator[None]:
    """Around asking ``server``, which whoever sent the request has named, while that request waits.

    ``slots`` are the threads that may wait for homeservers at once: fewer than there are, because a stranger decides how
    long a homeserver takes, and somebody has to answer everyone else. Raises ``LimitExceeded`` where none gets free, and
    turns ``RequestFailed`` into one and the same ``Unknown`` (502), whatever the reason: a stranger must not learn what
    our network looks like from the answer or from the time it took.
    """
    if not slots.acquire(timeout=WAIT_FOR_SLOT_S):
        raise LimitExceeded(RETRY_AFTER_MS, "Too many requests wait for homeservers. Please try again in a moment.")
    started_s = clock.monotonic_s()
    try:
        yield
    except RequestFailed as failure:
        log.warning("homeserver.not_asked", homeserver=str(server), reason=failure.reason)
        _wait_to_tell(clock, started_s)
        raise Unknown("The homeserver could not be asked. Please try again later.", status=502) from failure
    finally:
        slots.release()


def _wait_to_tell(clock: Clock, started_s: float) -> None:
    elapsed_s = clock.monotonic_s() - started_s
    tell_at_s = next((at_s for at_s in (FAST_FAILURE_S, SLOW_FAILURE_S) if elapsed_s <= at_s), math.ceil(elapsed_s))
    clock.sleep_s(tell_at_s - elapsed_s)
