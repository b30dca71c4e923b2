"""Telling a peer that our log has grown, so that it need not ask all the time."""

from dataclasses import dataclass
from typing import Protocol

from sydent_py.replication.each_checkpoint import EachCheckpoint


class Nudgeable(Protocol):
    """Whom to tell."""

    def nudge(self, size: int) -> None:
        """Our log has grown to ``size``; ``RequestFailed``."""


@dataclass
class Nudge(EachCheckpoint):
    """Tells one peer, which asks by itself, too."""

    failure = "replication.not_nudged"

    peer: Nudgeable

    def _tell(self, size: int) -> int:
        self.peer.nudge(size)
        return size
