"""Asking the owner of an address whether a binding is to go, when a homeserver's request may be a copy of an old one."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sydent_py.bindings.associations import Associations
from sydent_py.database import Database
from sydent_py.errors import NotFound
from sydent_py.identifiers import EMAIL, ThreePid, UserId
from sydent_py.messaging.email import Mailer
from sydent_py.messaging.templates import Templates
from sydent_py.outbox.mail import send
from sydent_py.outbox.outbox import Outbox
from sydent_py.sealing import SealBroken, Sealer


@dataclass(frozen=True)
class Removal:
    """The binding of an address to a user that was made at ``ts``, and no later one."""

    threepid: ThreePid
    user_id: str
    ts: int


@dataclass(frozen=True)
class Removals:
    """Mails a link whose page removes a binding, to be pressed by whoever reads the mail of that address."""

    database: Database
    associations: Associations
    outbox: Outbox
    sealer: Sealer
    url: str

    def ask(self, db: Connection, removal: Removal) -> None:
        """Have a mail sent to the address."""
        content = {"address": removal.threepid.address, "user_id": removal.user_id, "ts": removal.ts}
        destination = self.sealer.pseudonym(removal.threepid.address)
        self.outbox.put(db, "removal_mail", content, destination=destination, user=UserId.parse(removal.user_id))

    def link(self, removal: Removal) -> str:
        """The link to put into a mail; only a reader of it can know it."""
        content = json.dumps([removal.threepid.address, removal.user_id, removal.ts])
        return f"{self.url}?t={self.sealer.seal_link(content, 'bindings.removal')}"

    def describe(self, token: str) -> tuple[Removal, bool]:
        """What pressing the button at the link would remove, and whether it is still there; ``NotFound`` for any other token."""
        removal = self._removal(token)
        return removal, self.stands(removal)

    def stands(self, removal: Removal) -> bool:
        """Whether the binding is still there."""
        with self.database.autocommit() as db:
            return self._stands(db, removal)

    def remove(self, token: str) -> Removal:
        """Remove the binding that the link is about, if it is still there; ``NotFound``."""
        removal = self._removal(token)
        with self.database.begin() as db:
            self.associations.lock(db, removal.threepid)
            if self._stands(db, removal):
                self.associations.remove(db, removal.threepid, removal.user_id)
        return removal

    def _stands(self, db: Connection, removal: Removal) -> bool:
        return self.associations.made_at(db, removal.threepid, removal.user_id) == removal.ts

    def _removal(self, token: str) -> Removal:
        try:
            address, user_id, ts = json.loads(self.sealer.unseal_link(token, "bindings.removal"))
        except SealBroken as error:
            raise NotFound("This link is not valid.") from error
        return Removal(ThreePid(EMAIL, address), user_id, ts)


@dataclass(frozen=True)
class SendRemovalMail:
    """Sends the mails that ask."""

    removals: Removals
    mailer: Mailer
    templates: Templates
    server_name: str

    def __call__(self, content: dict[str, Any], _destination: str, _attempts: int) -> None:
        """Send one mail; ``TryLater`` or ``Undeliverable``."""
        removal = Removal(ThreePid(EMAIL, content["address"]), content["user_id"], content["ts"])
        if not self.removals.stands(removal):
            return
        mail = self.templates.render(
            "remove_binding",
            None,
            removal.threepid,
            server_name=self.server_name,
            user_id=removal.user_id,
            address=removal.threepid.address,
            link=self.removals.link(removal),
        )
        send(self.mailer, mail)
