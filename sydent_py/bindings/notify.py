"""Telling a homeserver that one of its users has bound an address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sydent_py.bindings.associations import Associations
from sydent_py.database import Database
from sydent_py.federation.client import Refused
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.identifiers import ServerName, ThreePid
from sydent_py.invites.invites import Invites
from sydent_py.outbox.deliver import TryLater, Undeliverable


class Homeservers(Protocol):
    """Whom to tell."""

    def onbind(self, server: ServerName, content: Mapping[str, Any], *, signed: bool) -> None:
        """Notify ``server``; ``Refused`` for good, or ``RequestFailed``."""


@dataclass(frozen=True)
class NotifyHomeserver:
    """Delivers what the outbox holds for homeservers (Server-Server API, ``PUT /3pid/onbind``)."""

    database: Database
    associations: Associations
    invites: Invites
    homeservers: Homeservers

    def __call__(self, content: dict[str, Any], destination: str, attempts: int) -> None:
        """Notify ``destination`` of what is still true: of no binding that is gone, and of no invitation that was revoked or is acted on.

        Raises ``TryLater`` or ``Undeliverable``.
        """
        with self.database.autocommit() as db:
            threepid = ThreePid(content["medium"], content["address"])
            if self.associations.made_at(db, threepid, content["mxid"]) != content["ts"]:
                return
            content["invites"] = [each for each in content["invites"] if self.invites.is_untold(db, each["token"])]
        try:
            # A homeserver that takes too long may be looking for our keys in vain: the next time it gets it unsigned.
            self.homeservers.onbind(ServerName.parse(destination), content, signed=attempts % 2 == 0)
        except Refused as refusal:
            raise Undeliverable(str(refusal)) from refusal
        except RequestFailed as failure:
            # An error, or an answer that is late, may be about one invitation; anything else is about the whole homeserver.
            unreachable = failure.reason not in {Reason.STATUS, Reason.TIMEOUT}
            raise TryLater(str(failure.reason), unreachable=unreachable) from failure
        with self.database.begin() as db:
            self.invites.note_told(db, [each["token"] for each in content["invites"]])
