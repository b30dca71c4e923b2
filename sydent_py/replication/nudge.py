"""Telling a peer that our log has grown, so that it need not ask all the time."""

from dataclasses import dataclass, field
from typing import Protocol

import structlog

from sydent_py.clock import Clock
from sydent_py.federation.transport import RequestFailed
from sydent_py.log.published import PublishedLog
from sydent_py.replication.follow import is_recent

# A peer that cannot be reached is told again after so long. It asks by itself, too.
RETRY_MS = 10_000

log = structlog.get_logger(__name__)


class Nudgeable(Protocol):
    """Whom to tell."""

    def nudge(self, size: int) -> None:
        """Our log has grown to ``size``; ``RequestFailed``."""


@dataclass
class Nudge:
    """Tells one peer, once for each checkpoint."""

    name: str
    peer: Nudgeable
    published_log: PublishedLog
    clock: Clock
    _told: int = field(init=False, default=0)
    _failed_at_ms: int | None = field(init=False, default=None)

    def __call__(self) -> None:
        """Tell it, if there is anything to tell."""
        size, now_ms = self.published_log.size(), self.clock.now_ms()
        has_just_failed = self._failed_at_ms is not None and is_recent(self._failed_at_ms, now_ms, RETRY_MS)
        if size == self._told or has_just_failed:
            return
        try:
            self.peer.nudge(size)
        except RequestFailed as failure:
            if self._failed_at_ms is None:
                log.warning("replication.not_nudged", peer=self.name, error=str(failure))
            self._failed_at_ms = now_ms
            return
        self._told, self._failed_at_ms = size, None
