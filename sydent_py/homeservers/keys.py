"""Whether the master keys that a homeserver serves are those that its users have published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import structlog

from sydent_py.database import Database
from sydent_py.errors import Forbidden
from sydent_py.homeserver_settings import TrustedHomeserver
from sydent_py.identifiers import UserId
from sydent_py.keys.register import KeyRegister

log = structlog.get_logger(__name__)

Found = Literal["match", "differs", "unpublished"]


@dataclass(frozen=True)
class CompareKeys:
    """Compares them with what every origin says, so that a homeserver that was broken into finds out."""

    database: Database
    register: KeyRegister

    def __call__(self, homeserver: TrustedHomeserver, masters: Mapping[UserId, bytes]) -> dict[str, Found]:
        """How the public master key of each user stands to the published ones: "match" where all origins have it.

        Raises ``Forbidden`` for a user of another homeserver.
        """
        if any(user.server.text != homeserver.name for user in masters):
            raise Forbidden("A homeserver can have the keys of its own users compared alone.")
        with self.database.autocommit() as db:
            current = self.register.current(db, [str(user) for user in masters])
        published = {user: {each.row.master for each in current.get(str(user), [])} for user in masters}
        found: dict[str, Found] = {
            str(user): "unpublished" if not published[user] else "match" if published[user] == {master} else "differs"
            for user, master in masters.items()
        }
        for user_id in (user_id for user_id, how in found.items() if how == "differs"):
            log.warning("homeservers.keys_differ", homeserver=homeserver.name, user=self.register.sealer.pseudonym(user_id))
        return found
