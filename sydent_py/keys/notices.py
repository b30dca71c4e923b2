"""Telling people what happens to their published keys, at every address they have proved here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Connection

from sydent_py import tokens
from sydent_py.bindings.register import AddressRegister
from sydent_py.errors import DestinationRejected, LimitExceeded, SendError
from sydent_py.identifiers import EMAIL, ThreePid, UserId
from sydent_py.messaging.email import Mailer
from sydent_py.messaging.sms import Pager, TextMessage, Unanswered
from sydent_py.messaging.templates import Templates
from sydent_py.outbox.deliver import TryLater, Undeliverable
from sydent_py.outbox.mail import send
from sydent_py.outbox.outbox import Kind, Outbox
from sydent_py.phone_numbers import PhoneNumber
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import Sealer

RESET = "keys_reset"
DIFFER = "keys_differ"
ERASED = "keys_erased"
# A text message is to stay short, whoever it is about.
MAX_TEXTED_USER_ID = 60

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class KeyNotices:
    """Queues mails and text messages, in the transaction of what they tell about."""

    register: AddressRegister
    outbox: Outbox
    sealer: Sealer

    def reset(self, db: Connection, user: UserId, counts_from_ms: int) -> None:
        """A reset of the user's keys waits until ``counts_from_ms``."""
        self._tell(db, user, self.register.own_addresses(db, user), RESET, {"counts_from": _moment(counts_from_ms)})

    def erased(self, db: Connection, user: UserId, threepids: Sequence[ThreePid], counts_from_ms: int) -> None:
        """Whoever has the user's account has erased their keys: tell it at what were their addresses. New ones may follow then."""
        self._tell(db, user, threepids, ERASED, {"counts_from": _moment(counts_from_ms)})

    def differ(self, db: Connection, user: UserId, origins: Sequence[str]) -> None:
        """These origins say different things about the user's keys."""
        log.warning("keys.differ", user=self.sealer.pseudonym(str(user)), origins=list(origins))
        self._tell(db, user, self.register.own_addresses(db, user), DIFFER, {"origins": ", ".join(origins)})

    def _tell(
        self, db: Connection, user: UserId, threepids: Sequence[ThreePid], template: str, content: dict[str, Any]
    ) -> None:
        for threepid in threepids:
            kind: Kind = "keys_mail" if threepid.medium == EMAIL else "keys_text"
            told = {**content, "template": template, "address": threepid.address, "user_id": str(user)}
            self.outbox.put(db, kind, told, destination=self.sealer.pseudonym(threepid.address), user=user)


@dataclass(frozen=True)
class SendKeysMail:
    """Sends the mails."""

    mailer: Mailer
    templates: Templates
    server_name: str
    rate_limits: RateLimits

    def __call__(self, content: dict[str, Any], _destination: str, _attempts: int) -> None:
        """Send one mail; ``TryLater`` or ``Undeliverable``. Of what peers may cause, no more than a few a day are sent."""
        if content["template"] == DIFFER and not _spent(self.rate_limits, "displaced_per_address", content["address"]):
            return
        threepid = ThreePid(EMAIL, content["address"])
        values = {name: value for name, value in content.items() if name != "template"}
        send(self.mailer, self.templates.render(content["template"], None, threepid, server_name=self.server_name, **values))


@dataclass(frozen=True)
class SendKeysText:
    """Sends the text messages: of a reset alone, which only an account can cause, and within the budgets of text messages."""

    pager: Pager
    server_name: str
    rate_limits: RateLimits
    allowed_countries: frozenset[str]

    def __call__(self, content: dict[str, Any], _destination: str, _attempts: int) -> None:
        """Send one text message; ``TryLater`` or ``Undeliverable``."""
        if content["template"] != RESET:
            return
        number = PhoneNumber.parse(f"+{content['address']}")
        if number.country not in self.allowed_countries:
            raise Undeliverable("no text messages are sent to numbers of this country")
        budgets = (("sms_per_number", number.digits), ("sms_per_country", number.country), ("sms_overall", ""))
        if not all(_spent(self.rate_limits, budget, subject) for budget, subject in budgets):
            raise TryLater("the budgets of text messages are used up", unreachable=False)
        body = (
            f"{self.server_name}: the published keys of {content['user_id'][:MAX_TEXTED_USER_ID]} will be replaced at "
            f"{content['counts_from']}. Not you? Cancel it in the app that has your key."
        )
        try:
            self.pager.send(TextMessage(number, body, tokens.new_sid()))
        except Unanswered:
            return  # It may have arrived, and may have cost.
        except DestinationRejected as error:
            raise Undeliverable("the provider refuses the number") from error
        except SendError as error:
            raise TryLater("the provider did not take it", unreachable=False) from error


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _spent(limits: RateLimits, budget: str, subject: str) -> bool:
    try:
        limits.spend(budget, subject)
    except LimitExceeded:
        return False
    return True
