"""What is sent, and what comes of it: entered codes, and the provider's reports."""

from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from sydent_py import tokens
from sydent_py.clock import DAY_MS, Clock
from sydent_py.database import Database
from sydent_py.errors import SendError
from sydent_py.phone_numbers import PhoneNumber
from sydent_py.sealing import Sealer
from sydent_py.sms import models
from sydent_py.sms.breakers import Breakers

# How long a number that a message did not reach is not tried again.
UNREACHABLE_MS = 3_600_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Traffic:
    """Keeps the account of text messages."""

    database: Database
    sealer: Sealer
    clock: Clock
    breakers: Breakers

    def require_open(self, number: PhoneNumber) -> None:
        """Raise ``SendError`` for a number that the last message did not reach, ``DestinationRejected`` for a stopped one."""
        with self.database.autocommit() as db:
            unreachable = models.last_failed(db, self._number_index(number), self.clock.now_ms() - UNREACHABLE_MS)
        if unreachable:
            raise SendError(
                "The last text message to this number did not arrive. Please check the number, or try again in an hour."
            )
        self.breakers.require_closed(number)

    def begin(self, db: Connection, number: PhoneNumber, sid: str) -> str:
        """Count a message of session ``sid`` that is about to be sent: its ``ref``. ``DestinationRejected`` as above."""
        self.breakers.take_trials(db, number)
        ref = tokens.new_sid()
        models.record(
            db,
            ref=ref,
            sid=sid,
            country=number.country,
            prefix_index=self.breakers.prefix_index(number.prefix),
            number_index=self._number_index(number),
            sent_at_ms=self.clock.now_ms(),
        )
        return ref

    def cancel(self, db: Connection, number: PhoneNumber, ref: str) -> None:
        """The provider did not take the message: nobody was paid for it."""
        models.forget(db, ref)
        self.breakers.give_trials_back(db, number)

    def finish(self, db: Connection, number: PhoneNumber) -> None:
        """The provider took the message."""
        models.add_to_totals(db, number.country, sent=1)

    def convert(self, db: Connection, sid: str) -> None:
        """The code of session ``sid`` was entered."""
        for country in models.convert(db, sid, self.clock.now_ms()):
            models.add_to_totals(db, country, converted=1)

    def report(self, ref: str, status: str, code: int | None) -> None:
        """The provider says what became of a message. Repeated and unknown reports change nothing."""
        now_ms = self.clock.now_ms()
        with self.database.begin() as db:
            if status == "delivered":
                models.deliver(db, ref, now_ms)
            failed = models.fail(db, ref, code, now_ms) if status in {"failed", "undelivered"} else None
            if failed:
                models.add_to_totals(db, failed, undelivered=1)
        if failed:
            log.warning("sms.undelivered", country=failed, ref=ref, code=code)

    def forget_expired(self, db: Connection) -> None:
        """Delete the messages that are older than the breakers look back, and than a day."""
        models.forget_before(db, self.clock.now_ms() - max(self.breakers.policy.window_ms, DAY_MS))

    def _number_index(self, number: PhoneNumber) -> bytes:
        return self.sealer.index("sms_sends.number", number.digits)
