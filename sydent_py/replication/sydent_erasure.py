"""Telling Sydent peers of removals whose entries were erased before they had them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from sydent_py.clock import DAY_MS, Clock
from sydent_py.log.erase import Forgotten
from sydent_py.replication import sydent_models as models
from sydent_py.sealing import Sealer

# A peer that cannot be reached for so long is not a reason to keep the address any longer.
KEEP_MS = 30 * DAY_MS

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class KeepTombstones:
    """Keeps what an erasure would keep from the peers: that an address they were told of is bound no more.

    Sealed, for each peer until it has it, and for 30 days at most. A peer that was never told of the address is not told now.
    """

    peers: Sequence[str]
    sealer: Sealer
    clock: Clock

    def __call__(self, db: Connection, forgotten: Sequence[Forgotten]) -> None:
        """Keep what is needed of the entries that are being erased, in the transaction that does it."""
        for peer in self.peers:
            state = models.locked(db, peer)
            told = {_address(each) for each in forgotten if each.kind == "bind" and _is_before(each, state.told_size)}
            for each in forgotten:
                if each.kind == "unbind" and not _is_before(each, state.sent_size) and _address(each) in told:
                    self._keep(db, peer, each)

    def forget_expired(self, db: Connection) -> None:
        """Forget what was kept for too long."""
        for peer in models.expire_tombstones(db, self.clock.now_ms() - KEEP_MS):
            log.error("sydent.removal_not_told", peer=peer, advice="have its operator remove bindings that are gone here")

    def _keep(self, db: Connection, peer: str, unbind: Forgotten) -> None:
        content = json.dumps({name: unbind.payload[name] for name in ("medium", "address", "ts")})
        sealed = self.sealer.seal(content, "sydent_tombstones.content")
        models.keep_tombstone(db, peer, unbind.commitment, sealed, self.clock.now_ms())


def _is_before(entry: Forgotten, index: int) -> bool:
    return entry.index is not None and entry.index < index


def _address(entry: Forgotten) -> tuple[str, str]:
    return entry.payload["medium"], entry.payload["address"]
