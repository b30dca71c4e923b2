"""Asking the identity server who an address belongs to, while a user waits: briefly, rarely, and never twice."""

import logging
from collections import OrderedDict
from dataclasses import dataclass, field

from sydent_py.synapse import clock, metrics
from sydent_py.synapse.client import Client
from sydent_py.synapse.config import Lookups
from sydent_py.synapse.wire import Refusal, Unreachable

# Who has just not answered is not asked again for so long, so that not everybody waits for it in turn.
REST_S = 10
KEPT_S = 60
MAX_KEPT = 10_000
HOUR_S = 3600

logger = logging.getLogger(__name__)

Address = tuple[str, str]


@dataclass
class Lookup:
    """One for each process: what it remembers is worth a minute."""

    client: Client
    settings: Lookups
    _answers: "OrderedDict[Address, tuple[float, str | None]]" = field(default_factory=OrderedDict)
    _asked_by: dict[str, tuple[float, int]] = field(default_factory=dict)
    _rests_until_s: float = 0

    async def find(self, medium: str, address: str, purpose: str, user_id: str = "") -> str | None:
        """Whom the address belongs to. None, too, where the identity server does not say so in time, or ``user_id`` has asked
        often enough.
        """
        if medium not in self.settings.media:
            return None
        kept = self._answers.get((medium, address))
        if kept and clock.monotonic_s() - kept[0] < KEPT_S:
            return kept[1]
        if clock.monotonic_s() < self._rests_until_s or not self._may_ask(user_id):
            metrics.LOOKUPS.labels(purpose=purpose, result="skipped").inc()
            return None
        return await self._ask(medium, address, purpose)

    async def _ask(self, medium: str, address: str, purpose: str) -> str | None:
        content = {"addresses": [{"medium": medium, "address": address}]}
        try:
            answer = await self.client.ask("lookup", content, self.settings.timeout_ms / 1000)
        except (Unreachable, Refusal) as failure:
            self._rests_until_s = clock.monotonic_s() + REST_S
            metrics.LOOKUPS.labels(purpose=purpose, result="failed").inc()
            logger.info("The identity server was asked in vain (%s): %s", purpose, failure)
            return None
        mappings = answer.get("mappings")
        found = [item.get("mxid") for item in mappings if isinstance(item, dict)] if isinstance(mappings, list) else []
        user_id = found[0] if found and isinstance(found[0], str) else None
        metrics.LOOKUPS.labels(purpose=purpose, result="found" if user_id else "unknown").inc()
        self._keep((medium, address), user_id)
        return user_id

    def _keep(self, address: Address, user_id: str | None) -> None:
        self._answers[address] = (clock.monotonic_s(), user_id)
        self._answers.move_to_end(address)
        if len(self._answers) > MAX_KEPT:
            self._answers.popitem(last=False)

    def _may_ask(self, user_id: str) -> bool:
        """Whether ``user_id`` has asked fewer times within the hour than it may. Whoever logs in is nobody yet, and is
        limited by Synapse.
        """
        if not user_id:
            return True
        now_s = clock.monotonic_s()
        began_s, count = self._asked_by.get(user_id, (now_s, 0))
        if now_s - began_s >= HOUR_S:
            began_s, count = now_s, 0
        if count >= self.settings.per_user_per_hour:
            return False
        if len(self._asked_by) > MAX_KEPT:
            self._asked_by = {who: since for who, since in self._asked_by.items() if now_s - since[0] < HOUR_S}
        self._asked_by[user_id] = (began_s, count + 1)
        return True
