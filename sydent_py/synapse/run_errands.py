"""Doing errands, each until it is done or nobody will ever take it."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sydent_py.synapse import clock, errands
from sydent_py.synapse.backoff import pause_ms
from sydent_py.synapse.errands import Errand
from sydent_py.synapse.outage import Outage
from sydent_py.synapse.storage import Storage
from sydent_py.synapse.wire import Refusal, Unreachable

# Tried for about three days, with pauses of five minutes at most.
MAX_ATTEMPTS = 1_000

logger = logging.getLogger(__name__)


class NotYet(Exception):
    """It may work later, and something else than the identity server has to change first."""


Run = Callable[[Errand], Awaitable[None]]


@dataclass(frozen=True)
class Errands:
    """``run`` has for each kind what does it: ``Unreachable``, ``Refusal`` and ``NotYet`` have it tried again."""

    storage: Storage
    outage: Outage
    run: dict[str, Run]

    async def __call__(self) -> None:
        """Do the first of what is due, so that nothing else waits for all of it."""
        if not self.outage.may_try():
            return
        for errand in await self.storage.run("errands", errands.due, clock.now_ms()):
            if not await self._do(errand):
                return

    async def _do(self, errand: Errand) -> bool:
        """Whether to go on with others."""
        try:
            await self.run[errand.kind](errand)
        except Unreachable as failure:
            await self.outage.began(failure)
            return False
        except Refusal as refusal:
            if refusal.is_temporary:
                await self.outage.began(refusal)
                return False
            await self._later(errand, str(refusal))
        except NotYet as reason:
            await self._later(errand, str(reason))
        except Exception as error:
            logger.exception("An errand (%s) failed", errand.kind)
            await self._later(errand, type(error).__name__)
        else:
            await self.storage.run("errand_done", errands.done, errand)
        return True

    async def _later(self, errand: Errand, reason: str) -> None:
        if errand.attempts + 1 >= MAX_ATTEMPTS:
            logger.warning("Given up (%s): %s", errand.kind, reason)
            await self.storage.run("errand_done", errands.done, errand)
            return
        logger.debug("Later (%s): %s", errand.kind, reason)
        pause = pause_ms(errand.attempts + 1, clock.fraction)
        await self.storage.run("errand_later", errands.postpone, errand, clock.now_ms() + pause)
