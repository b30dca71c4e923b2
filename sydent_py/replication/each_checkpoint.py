"""What one peer is told of each checkpoint of our log, or of the newest where there are many."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import structlog

from sydent_py.clock import Clock, is_recent
from sydent_py.federation.transport import RequestFailed
from sydent_py.log.published import PublishedLog

# A peer that cannot be told is told again after so long.
RETRY_MS = 10_000

log = structlog.get_logger(__name__)


@dataclass
class EachCheckpoint(ABC):
    """Tells the peer ``name``. ``failure`` is what is logged when that fails, once until it succeeds again.

    Where ``again_ms`` is given, it is told again after so long, though the log has not grown.
    """

    failure: ClassVar[str]
    again_ms: ClassVar[int] = 0

    name: str
    published_log: PublishedLog
    clock: Clock
    _done: int = field(init=False, default=0)
    _done_at_ms: int = field(init=False, default=0)
    _failed_at_ms: int | None = field(init=False, default=None)

    def __call__(self) -> None:
        """Tell it, if there is anything to tell."""
        size, now_ms = self.published_log.size(), self.clock.now_ms()
        has_just_failed = self._failed_at_ms is not None and is_recent(self._failed_at_ms, now_ms, RETRY_MS)
        is_told = size == self._done and (not self.again_ms or is_recent(self._done_at_ms, now_ms, self.again_ms))
        if is_told or not size or has_just_failed:
            return
        try:
            self._done = self._tell(size)
        except RequestFailed as failure:
            if self._failed_at_ms is None:
                log.warning(self.failure, peer=self.name, error=str(failure))
            self._failed_at_ms = now_ms
            return
        self._done_at_ms, self._failed_at_ms = now_ms, None

    @abstractmethod
    def _tell(self, size: int) -> int:
        """Tell it that our log has ``size`` entries: of how many it knows now. Raises ``RequestFailed``."""
