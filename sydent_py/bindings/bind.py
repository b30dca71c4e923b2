"""Publishing a proved address (``POST /3pid/bind``)."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sydent_py.accounts import presence
from sydent_py.bindings.associations import Associations, Vouched
from sydent_py.database import Database
from sydent_py.errors import Unauthorized
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.invites.invites import Invites
from sydent_py.outbox.outbox import Outbox
from sydent_py.validation.sessions import Sessions


@dataclass(frozen=True)
class Bind:
    """Vouches for a binding, and has the user's homeserver told: all in one transaction."""

    database: Database
    sessions: Sessions
    associations: Associations
    invites: Invites
    outbox: Outbox

    def __call__(self, account: UserId, sid: str, client_secret: str, mxid: str) -> Vouched:
        """The signed association of the address that the session proves with ``mxid``, which must be the account's own.

        It takes the place of any binding the address had, and uses the session up. Raises ``Unauthorized`` (403),
        ``NoValidSession``, ``SessionExpired`` and ``SessionNotValidated``.
        """
        if mxid != str(account):
            raise Unauthorized("You can bind an address to your own Matrix user ID alone.", status=403)
        with self.database.begin() as db:
            presence.require(db, account)
            threepid = self.sessions.spend(db, account, sid, client_secret)
            vouched = self.associations.make(db, threepid, account)
            self._queue_notification(db, threepid, account, vouched.signed)
        return vouched

    def _queue_notification(self, db: Connection, threepid: ThreePid, account: UserId, association: dict[str, Any]) -> None:
        """Tell the homeserver of the binding and of the invitations that waited for it.

        Server-Server API, ``PUT /3pid/onbind``, which is also sent when nobody had invited the address.
        """
        # One for each: a homeserver refuses all when one fails, and one that is sent again would undo how its user has answered.
        for invites in [[invite] for invite in self.invites.accept(db, threepid, account)] or [[]]:
            content = {**association, "invites": invites}
            self.outbox.put(db, "onbind", content, destination=str(account.server), user=account)
