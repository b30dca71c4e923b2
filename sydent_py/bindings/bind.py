"""Publishing a proved address (``POST /3pid/bind``)."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sydent_py.accounts import presence
from sydent_py.bindings.associations import Associations, Vouched
from sydent_py.database import Database
from sydent_py.errors import Unauthorized
from sydent_py.identifiers import ServerName, ThreePid, UserId
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
            return self.vouch(db, threepid, account)

    def vouch(
        self, db: Connection, threepid: ThreePid, user: UserId, *, at_the_word_of: ServerName | None = None
    ) -> Vouched:
        """The signed association of an address with the user whose it is known to be, and their homeserver told.

        Server-Server API, ``PUT /3pid/onbind``, which is also sent when nobody had invited the address; but not to a homeserver
        ``at_the_word_of`` which this is done: it knows of the binding, and is told of the invitations that waited for it.
        """
        vouched = self.associations.make(db, threepid, user)
        if at_the_word_of is not None:
            self.associations.register.note_homeserver(db, threepid, at_the_word_of.text)
        # One for each: a homeserver refuses all when one fails, and one that is sent again would undo how its user has answered.
        told: list[list[Any]] = [[invite] for invite in self.invites.accept(db, threepid, user)]
        for invites in told if told or at_the_word_of else [[]]:
            content = {**vouched.signed, "invites": invites}
            self.outbox.put(db, "onbind", content, destination=str(user.server), user=user)
        return vouched
