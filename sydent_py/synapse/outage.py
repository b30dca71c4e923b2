"""The identity server's absences: when to try again, and one warning for each."""

import logging
from dataclasses import dataclass, field

from sydent_py.synapse import clock, metrics
from sydent_py.synapse.backoff import Backoff
from sydent_py.synapse.storage import Storage
from sydent_py.synapse.wire import Refusal, Unreachable

# What keeps nobody out for a moment only: an admin has to do something first.
LASTING_PAUSE_MS = 30_000

_ADVICE = {
    401: "it does not know this homeserver's signing key: check that it reaches this homeserver, or pin the key in verify_keys",
    403: "it does not trust this homeserver: add it to [[trusted_homeservers]] in its configuration, and compare the clocks",
    404: "it does not know what it is asked: check identity_server, and that it is a sydent_py new enough",
}

logger = logging.getLogger(__name__)


@dataclass
class Outage:
    """Whether one is on, as the one process sees it that talks to the identity server in the background."""

    storage: Storage
    backoff: Backoff = field(default_factory=lambda: Backoff(clock.fraction))
    since_ms: int = 0
    _kind: str = ""
    _is_noted: bool = True  # by a process that was killed in one, perhaps

    def may_try(self) -> bool:
        """Whether it is time to ask."""
        return self.backoff.is_due(clock.now_ms())

    async def began(self, failure: Unreachable | Refusal) -> None:
        """A request has failed."""
        now_ms = clock.now_ms()
        kind, advice, at_least_ms = _what(failure)
        pause_ms = self.backoff.failed(now_ms, at_least_ms)
        self.since_ms, self._is_noted = self.since_ms or now_ms, True
        metrics.OUTAGE.set(1)
        if kind == self._kind:
            logger.debug("The identity server still does not serve us: %s (next attempt in %d ms)", failure, pause_ms)
        else:
            self._kind = kind
            logger.warning("The identity server does not serve us: %s. Changes are kept until it does. %s", failure, advice)
        await self.storage.note("outage", {"since_ms": self.since_ms, "reason": str(failure), "advice": advice})

    async def ended(self) -> None:
        """A request has been answered."""
        self.backoff.succeeded()
        if self.since_ms:
            lasted_s = (clock.now_ms() - self.since_ms) / 1000
            logger.info("The identity server serves us again, after %.0f s", lasted_s)
        if self._is_noted:
            await self.storage.note("outage", {})
        self.since_ms, self._kind, self._is_noted = 0, "", False
        metrics.OUTAGE.set(0)


def _what(failure: Unreachable | Refusal) -> tuple[str, str, int]:
    """The kind of a failure, what to do about it, and the shortest pause in ms."""
    if isinstance(failure, Unreachable):
        return "unreachable", "Check that it runs and that identity_server and ca_file are right.", 0
    if failure.is_temporary:
        return "busy", "This should pass by itself; its log says more.", failure.retry_after_ms
    advice = _ADVICE.get(failure.status, "see its log")
    return str(failure.status), f"{advice[0].upper()}{advice[1:]}.", LASTING_PAUSE_MS
