"""The associations this server vouches for: register and log, changed together."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sydent_py.bindings import models
from sydent_py.bindings.register import AddressRegister, Claim, Retraction
from sydent_py.clock import Clock
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.log.append import Log, Receipt
from sydent_py.signing import Signer

HUNDRED_YEARS_MS = 100 * 365 * 24 * 3_600_000


@dataclass(frozen=True)
class Vouched:
    """What the server has signed, and the receipt for its entry in the log."""

    signed: dict[str, Any]
    receipt: Receipt


@dataclass(frozen=True)
class Associations:
    """Makes and removes associations of this server's own, in the caller's transaction."""

    register: AddressRegister
    log: Log
    signer: Signer
    clock: Clock

    def make(self, db: Connection, threepid: ThreePid, user: UserId) -> Vouched:
        """The signed association of ``threepid`` with ``user``, in place of any other.

        What another user had is taken back first, in an entry of that user's: an erasure of the new one leaves it standing.
        """
        self.lock(db, threepid)
        before, newest_ts = self.register.get(db, threepid), self.register.newest_ts(db, threepid)
        if before is not None and before.user_id != str(user):
            self.remove(db, threepid, before.user_id)
        association = self._sign(threepid, user, self._ts_after(newest_ts))
        times = {name: association[name] for name in ("ts", "not_before", "not_after")}
        self.register.apply(db, self.signer.server_name, [Claim(threepid, str(user), **times)])
        return Vouched(association, self.log.append(db, "bind", association))

    def made_at(self, db: Connection, threepid: ThreePid, mxid: str) -> int | None:
        """The ``ts`` of the association of ``threepid`` with ``mxid``, if there is one."""
        association = self.register.get(db, threepid)
        return None if association is None or association.user_id != mxid else int(association.ts)

    def remove(self, db: Connection, threepid: ThreePid, mxid: str) -> Vouched | None:
        """Remove the association of ``threepid`` with ``mxid``: what the log says of it, or None where there was none."""
        self.lock(db, threepid)
        made_at = self.made_at(db, threepid, mxid)
        if made_at is None:
            return None
        self.register.apply(db, self.signer.server_name, [Retraction(threepid)])
        ts = self._ts_after(made_at)
        unbind = self.signer.sign({"medium": threepid.medium, "address": threepid.address, "mxid": mxid, "ts": ts})
        return Vouched(unbind, self.log.append(db, "unbind", unbind))

    def lock(self, db: Connection, *threepids: ThreePid) -> None:
        """Until this transaction ends, no other one makes or removes an association of any of ``threepids``."""
        self.register.lock(db, *threepids)

    def remove_all(self, db: Connection, user: UserId) -> int:
        """Remove every association with ``user``: how many."""
        threepids = [self.threepid(binding) for binding in models.of_user(db, str(user))]
        self.register.lock(db, *threepids)
        removed = [self.remove(db, threepid, str(user)) for threepid in threepids]
        return len([each for each in removed if each])

    def threepid(self, binding: Any) -> ThreePid:
        """The address of a binding."""
        return self.register.threepid(binding)

    def _sign(self, threepid: ThreePid, user: UserId, ts: int) -> dict[str, Any]:
        return self.signer.sign(
            {
                "medium": threepid.medium,
                "address": threepid.address,
                "mxid": str(user),
                "ts": ts,
                "not_before": ts,
                "not_after": ts + HUNDRED_YEARS_MS,
            }
        )

    def _ts_after(self, ts: int) -> int:
        """Now, in ms, or just after the binding that stood until now, however the clock is set."""
        return max(self.clock.now_ms(), ts + 1)
