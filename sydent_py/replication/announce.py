"""Telling the owner of an address that a peer's newer claim took the place of the binding that they made here."""

from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection

from sydent_py.bindings.register import Displaced
from sydent_py.errors import LimitExceeded
from sydent_py.identifiers import EMAIL, ThreePid, UserId
from sydent_py.messaging.email import Mailer
from sydent_py.messaging.templates import Templates
from sydent_py.outbox.mail import send
from sydent_py.outbox.outbox import Outbox
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import Sealer

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Announce:
    """Queues the mail, and tells the operator."""

    outbox: Outbox
    sealer: Sealer

    def __call__(self, db: Connection, displaced: Displaced) -> None:
        """Have a mail sent to the address, in the transaction that displaces the binding; phones get no text message for it."""
        address = displaced.threepid.address
        log.warning("replication.displaced", origin=displaced.by_origin, address=self.sealer.pseudonym(address))
        if displaced.threepid.medium != EMAIL:
            return
        content = {
            "address": address,
            "old_user_id": displaced.user_id,
            "new_user_id": displaced.by_user_id,
            "origin": displaced.by_origin,
        }
        destination = self.sealer.pseudonym(address)
        self.outbox.put(db, "displaced_mail", content, destination=destination, user=UserId.parse(displaced.user_id))


@dataclass(frozen=True)
class SendDisplacedMail:
    """Sends the mails."""

    mailer: Mailer
    templates: Templates
    server_name: str
    rate_limits: RateLimits

    def __call__(self, content: dict[str, Any], _destination: str, _attempts: int) -> None:
        """Send one mail; ``TryLater`` or ``Undeliverable``. A peer that goes on and on has no more than a few of them sent."""
        try:
            self.rate_limits.spend("displaced_per_address", content["address"])
        except LimitExceeded:
            return
        threepid = ThreePid(EMAIL, content["address"])
        send(
            self.mailer, self.templates.render("binding_displaced", None, threepid, server_name=self.server_name, **content)
        )
