"""Publishing and removing bindings (``POST /3pid/bind``, ``POST /3pid/unbind``)."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sydent_py.bindings import models
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.directory.publish import Directory
from sydent_py.errors import Forbidden, Unauthorized
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.log.append import Log
from sydent_py.sealing import Sealer
from sydent_py.signing import Signer
from sydent_py.validation.sessions import Sessions

HUNDRED_YEARS_MS = 100 * 365 * 24 * 3_600_000


@dataclass(frozen=True)
class Bindings:
    """Vouches for bindings, and takes it back. Each change is one transaction: register, lookup table and log together."""

    database: Database
    sessions: Sessions
    directory: Directory
    log: Log
    signer: Signer
    sealer: Sealer
    clock: Clock

    def bind(self, account: UserId, sid: str, client_secret: str, mxid: str) -> dict[str, Any]:
        """The signed association of the address that the session proves with ``mxid``, which must be the account's own.

        It takes the place of any binding the address had, and uses the session up. Raises ``Unauthorized`` (403),
        ``NoValidSession``, ``SessionExpired`` and ``SessionNotValidated``.
        """
        if mxid != str(account):
            raise Unauthorized("You can bind an address to your own Matrix user ID alone.", status=403)
        with self.database.begin() as db:
            threepid = self.sessions.spend(db, account, sid, client_secret)
            association = self._sign_association(db, threepid, account)
            models.put(
                db,
                origin=self.signer.server_name,
                address_index=self._index(threepid),
                medium=threepid.medium,
                address=self.sealer.seal(threepid.address, "bindings.address"),
                user_id=str(account),
                **{name: association[name] for name in ("ts", "not_before", "not_after")},
            )
            self.directory.publish(db, threepid, account)
            self.log.append(db, "bind", association)
        return association

    def unbind(self, account: UserId, sid: str, client_secret: str, mxid: str, threepid: ThreePid) -> None:
        """Remove the binding of ``threepid`` to ``mxid``, proved by a session for that address.

        A binding that is not there is removed already. Raises ``Forbidden`` when the session proves another address,
        ``NoValidSession``, ``SessionExpired`` and ``SessionNotValidated``.
        """
        with self.database.begin() as db:
            if self.sessions.proof(db, account, sid, client_secret).threepid != threepid:
                raise Forbidden("This validation session is for another address.")
            self._remove(db, threepid, mxid)

    def _remove(self, db: Connection, threepid: ThreePid, mxid: str) -> None:
        index = self._index(threepid)
        binding = models.lock(db, self.signer.server_name, index)
        if binding is None or binding.user_id != mxid:
            return
        models.remove(db, self.signer.server_name, index)
        self.directory.withdraw(db, threepid)
        ts = self._ts_after(binding.ts)
        unbind = {"medium": threepid.medium, "address": threepid.address, "mxid": mxid, "ts": ts}
        self.log.append(db, "unbind", self.signer.sign(unbind))

    def _sign_association(self, db: Connection, threepid: ThreePid, mxid: UserId) -> dict[str, Any]:
        displaced = models.lock(db, self.signer.server_name, self._index(threepid))
        ts = self._ts_after(displaced.ts if displaced else 0)
        return self.signer.sign(
            {
                "medium": threepid.medium,
                "address": threepid.address,
                "mxid": str(mxid),
                "ts": ts,
                "not_before": ts,
                "not_after": ts + HUNDRED_YEARS_MS,
            }
        )

    def _ts_after(self, ts: int) -> int:
        """Now, in ms, or just after the binding that stood until now, however the clock is set."""
        return max(self.clock.now_ms(), ts + 1)

    def _index(self, threepid: ThreePid) -> bytes:
        return self.sealer.index("bindings.address", threepid.medium, threepid.address)
