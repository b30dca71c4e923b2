"""Telling the identity server what the queue holds."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sydent_py.synapse import clock, metrics, queue, wire
from sydent_py.synapse.backoff import pause_ms
from sydent_py.synapse.client import Client
from sydent_py.synapse.outage import Outage
from sydent_py.synapse.queue import BIND, Change
from sydent_py.synapse.storage import Storage
from sydent_py.synapse.tables import Txn
from sydent_py.synapse.wire import Refusal, TooSlow, Unreachable

PROGRESS_EVERY_S = 10
ACCEPTED = ("done", "unchanged")
ANSWERS = (*ACCEPTED, "superseded", "refused")

SMALLEST_BATCH = 20

# Answers to a batch that say nothing against its items, and may not be the same when there are fewer of them.
BATCH_REFUSED = (400, 413)

logger = logging.getLogger(__name__)

OnBound = Callable[[Change], Awaitable[None]]
Result = dict[str, Any]


@dataclass
class Deliver:
    """Empties the queue. ``on_bound`` is called for each binding that the identity server has taken and may have invitations for."""

    storage: Storage
    client: Client
    outage: Outage
    on_bound: OnBound
    _batch: int = queue.MAX_BATCH
    _delivered: int = 0
    _told_progress_s: float = 0

    async def __call__(self) -> None:
        """Send what is due, batch after batch, until nothing is or the identity server fails."""
        while self.outage.may_try():
            changes = await self.storage.write("take", _take, clock.now_ms(), self._batch)
            if not changes:
                break
            if not await self._send(changes):
                return
            await self._tell_progress()
        self._delivered = 0

    async def _send(self, changes: list[Change]) -> bool:
        """One batch; whether to go on with the next."""
        try:
            answer = await self.client.ask("bindings", {"changes": [_item(change) for change in changes]})
            results = _results(answer, len(changes))
        except Unreachable as failure:
            if isinstance(failure, TooSlow) and len(changes) > SMALLEST_BATCH:
                self._batch = max(SMALLEST_BATCH, len(changes) // 2)  # it may have been too much for the time that it had
                return True
            await self.outage.began(failure)
            return False
        except Refusal as refusal:
            if refusal.status not in BATCH_REFUSED:
                await self.outage.began(refusal)
                return False
            await self._split(changes, refusal)
            return True
        await self.outage.ended()
        self._batch = min(queue.MAX_BATCH, self._batch + SMALLEST_BATCH)
        await self._settle(list(zip(changes, results, strict=True)))
        return True

    async def _split(self, changes: list[Change], refusal: Refusal) -> None:
        """A batch that is refused as a whole: find the change that it is for, by halves."""
        if len(changes) > 1:
            self._batch = len(changes) // 2
        else:
            await self._settle([(changes[0], {"status": "refused", "errcode": refusal.errcode, "error": str(refusal)})])

    async def _settle(self, outcomes: list[tuple[Change, Result]]) -> None:
        await self.storage.write("settle", _settle, outcomes, clock.now_ms())
        self._delivered += len(outcomes)
        for change, result in outcomes:
            status = result.get("status")
            metrics.CHANGES.labels(action=change.action, result=status if status in ANSWERS else "unknown").inc()
            # One that does not say how many invitations wait for the address has to be asked.
            if status in ACCEPTED and change.action == BIND and result.get("invites") != 0:
                await self.on_bound(change)
            elif status not in ANSWERS[:-1]:
                logger.warning(
                    "The identity server refuses to %s an address of %s: %s",
                    change.action,
                    change.binding.user_id,
                    _why(result),
                )

    async def _tell_progress(self) -> None:
        backlog = await self.storage.run("backlog", queue.waiting)
        metrics.WAITING.set(backlog.count)
        now_s = clock.monotonic_s()
        if backlog.count and now_s - self._told_progress_s > PROGRESS_EVERY_S:
            self._told_progress_s = now_s
            logger.info("Told the identity server of %d changes, %d are waiting", self._delivered, backlog.count)


def _take(txn: Txn, now_ms: int, limit: int) -> list[Change]:
    changes = fitting(queue.due(txn, now_ms, limit))
    for change in changes:
        queue.leaves(txn, change)
    return changes


def _settle(txn: Txn, outcomes: list[tuple[Change, Result]], now_ms: int) -> None:
    for change, result in outcomes:
        status = result.get("status")
        if status in ACCEPTED:
            canonical = result.get("address")
            queue.done(txn, change, canonical if isinstance(canonical, str) else change.binding.address)
        elif status == "superseded":
            pause = pause_ms(change.attempts, clock.fraction) if change.attempts else 0
            queue.superseded(txn, change, now_ms, pause)
        else:
            queue.refused(txn, change, str(result.get("errcode")), _why(result))


def _why(result: Result) -> str:
    return f"{result.get('errcode', 'M_UNKNOWN')}: {result.get('error', '')}"[:300]


def fitting(changes: list[Change]) -> list[Change]:
    """As many of the first of ``changes`` as fit into one request, and one at least."""
    taken, size = 0, 0
    for change in changes:
        size += len(wire.encode(_item(change))) + 1
        if taken and size > wire.MAX_REQUEST_BYTES:
            break
        taken += 1
    return changes[:taken]


def _item(change: Change) -> dict[str, Any]:
    return {
        "action": change.action,
        "medium": change.binding.medium,
        "address": change.binding.address,
        "mxid": change.binding.user_id,
        "ts": change.ts,
        "seq": change.seq,
    }


def _results(answer: dict[str, Any], expected: int) -> list[dict[str, Any]]:
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != expected or not all(isinstance(item, dict) for item in results):
        raise Unreachable("the answer has not one result for each change: is this the identity server?")
    return results
