"""How long to leave an identity server alone that has not answered."""

from collections.abc import Callable
from dataclasses import dataclass

FIRST_MS = 1_000
LAST_MS = 300_000


def pause_ms(failures: int, fraction: Callable[[], float]) -> int:
    """The pause after so many failures in a row: 1 s, 2 s, 4 s and so on up to five minutes, of which half is left to chance."""
    longest = min(LAST_MS, FIRST_MS << min(failures - 1, 16))
    return longest // 2 + int(fraction() * longest / 2)


@dataclass
class Backoff:
    """When to try again; ``fraction`` gives a number from 0 to 1."""

    fraction: Callable[[], float]
    failures: int = 0
    not_before_ms: int = 0

    def failed(self, now_ms: int, at_least_ms: int = 0) -> int:
        """Note a failure; the pause from now, in ms, and not shorter than the server has asked for."""
        self.failures += 1
        pause = max(pause_ms(self.failures, self.fraction), min(at_least_ms, LAST_MS))
        self.not_before_ms = now_ms + pause
        return pause

    def succeeded(self) -> None:
        """Start over."""
        self.failures, self.not_before_ms = 0, 0

    def is_due(self, now_ms: int) -> bool:
        """Whether to try now. A clock that was set back does not make the pause longer than the longest there is."""
        return now_ms >= self.not_before_ms or self.not_before_ms - now_ms > LAST_MS
