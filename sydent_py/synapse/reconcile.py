"""Keeping what is published what the homeserver knows: at every start, and every so many hours."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sydent_py.synapse import census, clock, metrics, queue
from sydent_py.synapse.binding import Binding
from sydent_py.synapse.census import Key, Page, Published
from sydent_py.synapse.client import Client
from sydent_py.synapse.consent import Consent
from sydent_py.synapse.digest import Digest
from sydent_py.synapse.storage import Storage
from sydent_py.synapse.tables import Txn
from sydent_py.synapse.wire import Unreachable

PROGRESS_EVERY_S = 10
BUCKETS_A_REQUEST = 16
MAX_PAGES = 100_000

logger = logging.getLogger(__name__)


@dataclass
class Backfill:
    """The homeserver's own tables against the queue's: what was there before the module, and what was missed."""

    storage: Storage
    consent: Consent
    between: Callable[[], Awaitable[None]]
    dry_run: bool
    _told_s: float = 0

    async def __call__(self) -> None:
        """Queue all that is missing and all that is too much, and do what is ``between`` after each page; with ``dry_run``,
        count it.
        """
        state = {"started_ms": clock.now_ms(), "dry_run": self.dry_run, "checked": 0, "to_publish": 0, "to_withdraw": 0}
        self._told_s = clock.monotonic_s()
        for step in (census.withdraw_surplus, census.publish_missing):
            after: Key | None = census.START
            while after is not None:
                page: Page = await self.storage.write(
                    "backfill", step, after, self.consent, clock.now_ms(), dry_run=self.dry_run
                )
                after = page.next
                state["checked"] += page.checked if step is census.publish_missing else 0
                state["to_publish"] += page.to_publish
                state["to_withdraw"] += page.to_withdraw
                await self._tell(state)
                await self.between()
        state["finished_ms"] = clock.now_ms()
        await self.storage.note("backfill", state)
        if state["to_publish"] or state["to_withdraw"]:
            logger.info(
                "%s of %d addresses: %d are to be published, %d to be withdrawn",
                "Dry run, nothing is sent" if self.dry_run else "Compared with the homeserver",
                state["checked"], state["to_publish"], state["to_withdraw"],
            )  # fmt: skip

    async def _tell(self, state: dict[str, Any]) -> None:
        if clock.monotonic_s() - self._told_s > PROGRESS_EVERY_S:
            self._told_s = clock.monotonic_s()
            await self.storage.note("backfill", state)
            logger.info("Looked at %d addresses of users, %d are to be published", state["checked"], state["to_publish"])


@dataclass(frozen=True)
class Reconcile:
    """What was told against what the identity server has, by digest; repairs both ways, or counts with ``dry_run``."""

    storage: Storage
    client: Client
    dry_run: bool

    async def __call__(self) -> None:
        """Compare once, when nothing waits. ``Unreachable``, ``Refusal``."""
        retried = 0 if self.dry_run else await self.storage.write("retry", queue.retry_refused)
        ours = await self._ours()
        theirs = (await self.client.ask("digest", {})).get("buckets")
        if not isinstance(theirs, dict):
            raise Unreachable("the digest has no buckets: is this the identity server?")
        differing = Digest.of(ours).differing(theirs)
        there = await self._listed(differing)
        lost = [ours[binding] for binding in sorted(ours.keys() - there) if binding.bucket in differing]
        extra = sorted(there - ours.keys())
        await self._repair(lost, extra)
        state = {"lost": len(lost), "extra": len(extra), "retried": retried, "dry_run": self.dry_run, "count": len(ours)}
        await self.storage.note("reconcile", {"finished_ms": clock.now_ms(), **state})
        if lost or extra:
            logger.warning(
                "The identity server had lost %d of %d bindings and had %d too many: %s",
                len(lost), len(ours), len(extra), "dry run, nothing is repaired" if self.dry_run else "they are repaired",
            )  # fmt: skip

    async def _ours(self) -> dict[Binding, Published]:
        """What was told, by the identity server's spelling."""
        found: dict[Binding, Published] = {}
        after: Key | None = census.START
        while after is not None:
            page, after = await self.storage.run("published", census.published, after)
            found |= {each.theirs: each for each in page}
        return found

    async def _listed(self, buckets: list[str]) -> set[Binding]:
        """What the identity server has in ``buckets``."""
        found: set[Binding] = set()
        for start in range(0, len(buckets), BUCKETS_A_REQUEST):
            some, after = buckets[start : start + BUCKETS_A_REQUEST], ""
            for _ in range(MAX_PAGES):
                answer = await self.client.ask("bindings/list", {"buckets": some, "after": after})
                found |= {_binding(item) for item in answer.get("bindings", [])}
                after = answer.get("next", "")
                if not after:
                    break
        return found

    async def _repair(self, lost: list[Published], extra: list[Binding]) -> None:
        metrics.DRIFT.labels(direction="lost").inc(len(lost))
        metrics.DRIFT.labels(direction="extra").inc(len(extra))
        if self.dry_run:
            return
        for start in range(0, len(extra), census.PAGE):
            await self.storage.write("repair", _withdraw, clock.now_ms(), extra[start : start + census.PAGE])
        for start in range(0, len(lost), census.PAGE):
            await self.storage.write("repair", _again, clock.now_ms(), lost[start : start + census.PAGE])


def _binding(item: Any) -> Binding:
    try:
        return Binding(str(item["medium"]), str(item["address"]), str(item["mxid"]))
    except (KeyError, TypeError) as error:
        raise Unreachable("the list of bindings is not one: is this the identity server?") from error


def _withdraw(txn: Txn, now_ms: int, bindings: list[Binding]) -> None:
    """Take back what is too much, unless it has been published since it was counted."""
    for binding in bindings:
        if not census.is_published(txn, binding):
            queue.withdraw(txn, now_ms, binding)


def _again(txn: Txn, now_ms: int, lost: list[Published]) -> None:
    for each in lost:
        queue.again(txn, now_ms, each.ours, each.seq)
