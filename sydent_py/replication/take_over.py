"""Taking over what the entries of a peer's log say."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from sqlalchemy import Connection

from sydent_py.bindings.register import Change, Displaced
from sydent_py.identifiers import UserId
from sydent_py.keys.chain import Broken
from sydent_py.keys.register import Stated
from sydent_py.log.audit import Contradiction
from sydent_py.replication import models
from sydent_py.replication.entries import Erasure, Said
from sydent_py.replication.pages import BadEntry, Page
from sydent_py.replication.peers import Peer
from sydent_py.replication.registers import Registers
from sydent_py.sealing import Sealer

# Whoever has more entries that cannot be taken over is no use as a peer.
MAX_QUARANTINED = 10_000


class Notices(Protocol):
    """Tells people of what happens to their keys."""

    def differ(self, db: Connection, user: UserId, origins: Sequence[str]) -> None:
        """Origins say different things about a user's keys."""


@dataclass(frozen=True)
class TakeOver:
    """Takes a page of a peer's log into the registers, in the transaction that counts it off.

    ``announce`` is told which bindings of this server's own were displaced.
    """

    peer: Peer
    registers: Registers
    sealer: Sealer
    announce: Callable[[Connection, Displaced], None]
    notices: Notices

    def __call__(self, db: Connection, page: Page) -> list[BadEntry]:
        """Take over what may be, and put the rest aside: what that is. ``Contradiction`` where it is too much."""
        self._lock(db, page.said)
        bad = list(page.bad)
        self._quarantine(db, bad)
        for family, said in groupby(page.said, key=_family):
            bad += family(self, db, said)
        return bad

    def erase(self, db: Connection, erasures: Iterable[Said]) -> list[BadEntry]:
        """Forget what came of entries that have no payload any more."""
        for each in erasures:
            assert isinstance(each, Erasure)
            models.release(db, self.peer.name, each.commitments)
            self.registers.addresses.erase(db, self.peer.name, each.commitments)
            self.registers.keys.erase(db, self.peer.name, each.commitments, each.ts)
        return []

    def state(self, db: Connection, statements: Iterable[Said]) -> list[BadEntry]:
        """Add statements of keys to their chains; those that continue none are put aside."""
        bad: list[BadEntry] = []
        taken: list[Stated] = []
        for each in statements:
            assert isinstance(each, Stated)
            try:
                self.registers.keys.take(db, self.peer.name, self.peer.log_key.name, each)
            except Broken as error:
                assert each.index is not None
                bad.append(BadEntry(each.index, each.commitment, each.kind, each.ts, f"{error}", each.payload))
            else:
                taken.append(each)
        self._quarantine(db, bad)
        for user_id, said in self.registers.keys.differing(db, {each.statement.user_id for each in taken}).items():
            self.notices.differ(db, UserId.parse(user_id), [each.origin for each in said])
        return bad

    def change(self, db: Connection, changes: Iterable[Said]) -> list[BadEntry]:
        """Make claims of addresses, and take them back."""
        wanted: list[Change] = [each for each in changes if not isinstance(each, Erasure | Stated)]
        for displaced in self.registers.addresses.apply(db, self.peer.name, wanted):
            self.announce(db, displaced)
        return []

    def _lock(self, db: Connection, said: Sequence[Said]) -> None:
        """Lock all addresses of a page at once, and then all users who state keys, in the order that everybody keeps to."""
        name = self.peer.name
        erased = [commitment for each in said if isinstance(each, Erasure) for commitment in each.commitments]
        threepids = {each.threepid for each in said if not isinstance(each, Erasure | Stated)}
        self.registers.addresses.lock(db, *threepids, *self.registers.addresses.erased(db, name, erased))
        users = {each.statement.user_id for each in said if isinstance(each, Stated)}
        self.registers.keys.lock(db, *users, *self.registers.keys.erased(db, name, erased))

    def _quarantine(self, db: Connection, bad: Sequence[BadEntry]) -> None:
        if bad and models.count_quarantined(db, self.peer.name) + len(bad) > MAX_QUARANTINED:
            raise Contradiction(
                f"more than {MAX_QUARANTINED} of its entries cannot be taken over: sydent-py peers quarantine"
            )
        models.quarantine(db, [self._quarantined(each) for each in bad])

    def _quarantined(self, bad: BadEntry) -> dict[str, object]:
        payload = None if bad.payload is None else self.sealer.seal(bad.payload.decode(), "quarantine.payload")
        values = {"commitment": bad.commitment, "kind": bad.kind, "ts": bad.ts, "reason": bad.reason, "payload": payload}
        return {"peer": self.peer.name, "entry_index": bad.index, **values}


def _family(said: Said) -> Callable[[TakeOver, Connection, Iterable[Said]], list[BadEntry]]:
    """What is done with entries of this kind, as many of them as come one after the other."""
    if isinstance(said, Erasure):
        return TakeOver.erase
    return TakeOver.state if isinstance(said, Stated) else TakeOver.change
