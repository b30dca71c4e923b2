"""What happens without anybody asking, on the one worker that does such things: one step a second."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sydent_py.synapse import clock, metrics, queue
from sydent_py.synapse.clock import HOUR_MS
from sydent_py.synapse.outage import Outage
from sydent_py.synapse.storage import Storage
from sydent_py.synapse.wire import Refusal, Unreachable

MEASURE_EVERY_S = 15

logger = logging.getLogger(__name__)

Job = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """A job that is turned off."""


@dataclass
class Background:
    """``at_start`` and ``reconcile`` ask the identity server something; ``backfill`` and ``follow`` do not."""

    storage: Storage
    outage: Outage
    at_start: Job = nothing
    backfill: Job = nothing
    deliver: Job = nothing
    errands: Job = nothing
    follow: Job = nothing
    reconcile: Job = nothing
    reconcile_hours: int = 0
    compare_keys: Job = nothing
    compare_keys_hours: int = 0
    _has_compared: bool = False
    _has_asked: bool = False
    _reconcile_at_ms: int | None = None
    _wish_ms: int | None = None
    _keys_compared_ms: int = 0
    _measured_s: float = 0
    _is_failing: bool = False

    async def step(self) -> None:
        """One step. What fails is tried in the next, and logged once until it works."""
        try:
            if not self._has_asked:
                self._has_asked = await self._ask(self.at_start)
            if not self._has_compared:
                await self.backfill()
                self._has_compared = True
            await self.follow()
            await self.deliver()
            await self.errands()
            await self._reconcile_if_due()
            await self._compare_keys_if_due()
            await self._measure()
        except Exception:
            if not self._is_failing:
                logger.exception("The module's background work has failed; it is tried every second, and this is said once")
            self._is_failing = True
        else:
            self._is_failing = False

    async def _ask(self, job: Job) -> bool:
        """Whether the identity server was there for ``job``."""
        if not self.outage.may_try():
            return False
        try:
            await job()
        except (Unreachable, Refusal) as failure:
            await self.outage.began(failure)
            return False
        await self.outage.ended()
        return True

    async def _reconcile_if_due(self) -> None:
        wish_ms = (await self.storage.noted("wanted")).get("reconcile_ms", 0)
        now_ms = clock.now_ms()
        if self._wish_ms is None:
            self._reconcile_at_ms = now_ms if self.reconcile_hours else None
        elif wish_ms > self._wish_ms:
            self._reconcile_at_ms = now_ms
        self._wish_ms = wish_ms
        if self._reconcile_at_ms is None or now_ms < self._reconcile_at_ms or not self.outage.may_try():
            return
        await self.backfill()
        await self.deliver()
        if await self.storage.run("is_empty", queue.is_empty) and await self._ask(self.reconcile):
            self._reconcile_at_ms = now_ms + self.reconcile_hours * HOUR_MS if self.reconcile_hours else None

    async def _compare_keys_if_due(self) -> None:
        now_ms = clock.now_ms()
        is_wished = (self._wish_ms or 0) > self._keys_compared_ms
        is_due = is_wished or now_ms >= self._keys_compared_ms + self.compare_keys_hours * HOUR_MS
        if self.compare_keys_hours and is_due and self.outage.may_try() and await self._ask(self.compare_keys):
            self._keys_compared_ms = now_ms

    async def _measure(self) -> None:
        if clock.monotonic_s() - self._measured_s < MEASURE_EVERY_S:
            return
        self._measured_s = clock.monotonic_s()
        waiting = await self.storage.run("waiting", queue.waiting)
        metrics.WAITING.set(waiting.count)
        metrics.OLDEST.set((clock.now_ms() - waiting.oldest_ts) / 1000 if waiting.count else 0)
