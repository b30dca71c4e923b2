"""Circuit breakers: text messages whose codes nobody enters are paid for by us and earned on by somebody else."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import DestinationRejected
from sydent_py.phone_numbers import PhoneNumber
from sydent_py.sealing import Sealer
from sydent_py.sms import models

# How many messages go out on trial after the pause.
TRIALS = 5

_SUSPENDED = "Text messages to this destination are suspended for now. Please try again later."

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Policy:
    """When a breaker opens: fewer than ``floor`` of at least ``min_sends`` codes were entered.

    Counted are the last ``window_ms``, without the last ``grace_ms``, in which a code may still be on its way.
    """

    floor: float
    window_ms: int
    grace_ms: int
    min_sends: int
    open_for_ms: int

    @property
    def enough_of_trial(self) -> int:
        """How many codes of a trial must be entered for the breaker to close."""
        return max(1, math.ceil(self.floor * TRIALS))


@dataclass(frozen=True)
class Subject:
    """A country, or the prefix of a block of numbers within one, and which messages belong to it."""

    key: str
    country: str
    prefix: str | None
    where: Any

    def named(self, sealer: Sealer) -> dict[str, str]:
        """For the log: the country, and a pseudonym of the prefix."""
        return {"country": self.country, **({"prefix": sealer.pseudonym(self.prefix)} if self.prefix else {})}


@dataclass(frozen=True)
class State:
    """A breaker that is not closed. ``state`` is ``open``, or ``trial`` once the pause is over.

    ``subject`` is a country, or a prefix as operators write it: ``+44740012xxxx``. It is not for logs.
    """

    subject: str
    country: str
    prefix: str | None
    state: str
    open_until_ms: int
    trials_left: int


@dataclass(frozen=True)
class Breakers:
    """One breaker for every country, and one for every prefix, in the database that all processes share."""

    database: Database
    sealer: Sealer
    clock: Clock
    policy: Policy

    def require_closed(self, number: PhoneNumber) -> None:
        """Raise ``DestinationRejected`` while a breaker keeps text messages from ``number``.

        This is where breakers open, and where they close again: when somebody asks for a message.
        """
        with self.database.begin() as db:
            passed = [self._passes(db, subject) for subject in self._subjects(number)]
        if not all(passed):
            raise DestinationRejected(_SUSPENDED)

    def take_trials(self, db: Connection, number: PhoneNumber) -> None:
        """Where a breaker is on trial, count one more message; ``DestinationRejected`` if that was one too many."""
        for subject in self._subjects(number):
            row = models.breaker(db, subject.key)
            if row is not None and row.is_open and not models.take_trial(db, subject.key, self.clock.now_ms()):
                raise DestinationRejected(_SUSPENDED)

    def give_trials_back(self, db: Connection, number: PhoneNumber) -> None:
        """Where a breaker is on trial, count one message less: the provider did not take it."""
        for subject in self._subjects(number):
            models.give_trial_back(db, subject.key, self.clock.now_ms(), TRIALS)

    def states(self, db: Connection) -> Iterator[State]:
        """Every breaker that is not closed."""
        now_ms = self.clock.now_ms()
        for row in models.breakers(db):
            prefix = self.sealer.unseal(row.prefix, "sms_breakers.prefix") if row.prefix else None
            state = "open" if now_ms < row.open_until_ms else "trial"
            yield State(
                f"+{prefix}xxxx" if prefix else row.country, row.country, prefix, state, row.open_until_ms, row.trials_left
            )

    def reset(self, name: str) -> bool:
        """Close the breaker of a country (``GB``) or prefix (``+44740012xxxx``): whether it was open."""
        key = _country_key(name.upper()) if name.isalpha() else self._prefix_key(name.lstrip("+").rstrip("x"))
        with self.database.begin() as db:
            closed = models.close_breaker(db, key, self.clock.now_ms())
        if closed:
            log.info("sms.breaker_closed", by="command", **({"country": name.upper()} if name.isalpha() else {}))
        return closed

    def _passes(self, db: Connection, subject: Subject) -> bool:
        now_ms, row = self.clock.now_ms(), models.breaker(db, subject.key)
        if row is None or not row.is_open:
            return not self._opens(db, subject, row.since_ms if row else 0)
        return now_ms >= row.open_until_ms and self._passes_trial(db, subject, row)

    def _opens(self, db: Connection, subject: Subject, since_ms: int) -> bool:
        """Open the breaker if too few codes were entered: whether it is open now."""
        now_ms, policy = self.clock.now_ms(), self.policy
        since_ms = max(since_ms, now_ms - policy.window_ms)
        seen = models.count(db, subject.where, since_ms=since_ms, until_ms=now_ms - policy.grace_ms)
        if seen.sent < policy.min_sends or seen.converted >= policy.floor * seen.sent:
            return False
        prefix = self.sealer.seal(subject.prefix, "sms_breakers.prefix") if subject.prefix else None
        if models.open_breaker(db, subject.key, subject.country, prefix, **self._pause(now_ms)):
            log.warning("sms.breaker_opened", **subject.named(self.sealer), sent=seen.sent, converted=seen.converted)
        return True

    def _passes_trial(self, db: Connection, subject: Subject, row: Any) -> bool:
        """Close the breaker if enough codes of the trial were entered, and pause again if they were not in time."""
        now_ms, policy = self.clock.now_ms(), self.policy
        done = models.count(db, subject.where, since_ms=row.open_until_ms, until_ms=now_ms - policy.grace_ms)
        if done.converted >= policy.enough_of_trial:
            if models.close_breaker(db, subject.key, now_ms):
                log.info("sms.breaker_closed", by="trial", **subject.named(self.sealer))
            return True
        if row.trials_left > 0:
            return True
        begun = models.count(db, subject.where, since_ms=row.open_until_ms, until_ms=now_ms)
        if begun.sent == 0:
            # Refused by the provider, or so long ago that it is forgotten: nothing was learnt, and the trial begins anew.
            again = {**self._pause(now_ms), "open_until_ms": now_ms}
            return models.reopen_breaker(db, subject.key, row.open_until_ms, **again)
        if done == begun and models.reopen_breaker(db, subject.key, row.open_until_ms, **self._pause(now_ms)):
            log.warning("sms.breaker_opened", **subject.named(self.sealer), sent=done.sent, converted=done.converted)
        return False

    def _pause(self, now_ms: int) -> dict[str, int]:
        return {"open_until_ms": now_ms + self.policy.open_for_ms, "trials_left": TRIALS, "since_ms": now_ms}

    def _subjects(self, number: PhoneNumber) -> tuple[Subject, Subject]:
        in_country = models.Send.country == number.country
        in_prefix = models.Send.prefix_index == self.prefix_index(number.prefix)
        country = Subject(_country_key(number.country), number.country, None, in_country)
        return country, Subject(self._prefix_key(number.prefix), number.country, number.prefix, in_prefix)

    def _prefix_key(self, prefix: str) -> str:
        return f"prefix:{self.prefix_index(prefix).hex()}"

    def prefix_index(self, prefix: str) -> bytes:
        """How a prefix is stored with each message."""
        return self.sealer.index("sms_sends.prefix", prefix)


def _country_key(country: str) -> str:
    return f"country:{country}"
