"""The invitations that wait for an address, for the homeserver whose user has bound it."""

from dataclasses import dataclass
from typing import Any

from sydent_py.bindings.associations import Associations
from sydent_py.database import Database
from sydent_py.errors import Forbidden
from sydent_py.homeserver_settings import TrustedHomeserver
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.invites.invites import Invites


@dataclass(frozen=True)
class WaitingInvites:
    """Shows a homeserver what it would be notified of, if it could be reached (Server-Server API, ``PUT /3pid/onbind``)."""

    database: Database
    associations: Associations
    invites: Invites

    def __call__(self, homeserver: TrustedHomeserver, threepid: ThreePid, user: UserId) -> list[dict[str, Any]]:
        """The invitations to ``threepid``, signed for ``user``; nothing is changed by asking.

        Raises ``Forbidden`` alike for a user of another homeserver, and for an address that is not bound to the user here.
        """
        with self.database.autocommit() as db:
            is_theirs = user.server.text == homeserver.name
            if not is_theirs or self.associations.made_at(db, threepid, str(user)) is None:
                raise Forbidden("This address is not bound here to a user of your homeserver with this Matrix ID.")
            return self.invites.waiting(db, threepid, user)
