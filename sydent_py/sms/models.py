"""The text messages that were sent, their totals by country, and the circuit breakers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Index, Row, RowMapping, case, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, insert


class Send(Base):
    """One text message, stored before it is handed to the provider: what was sent cannot go uncounted.

    ``ref`` is what the provider's reports name it by. Number and prefix are keyed hashes.
    """

    __tablename__ = "sms_sends"
    __table_args__ = (
        Index("ix_sms_sends_country", "country", "sent_at_ms"),
        Index("ix_sms_sends_prefix", "prefix_index", "sent_at_ms"),
        Index("ix_sms_sends_number", "number_index", "sent_at_ms"),
    )

    ref: Mapped[str] = mapped_column(primary_key=True)
    sid: Mapped[str] = mapped_column(index=True)
    country: Mapped[str]
    prefix_index: Mapped[bytes]
    number_index: Mapped[bytes]
    sent_at_ms: Mapped[int] = mapped_column(index=True)
    converted_at_ms: Mapped[int | None]
    delivered_at_ms: Mapped[int | None]
    failed_at_ms: Mapped[int | None]
    failure_code: Mapped[int | None]


class Total(Base):
    """What was sent to a country since the beginning, and what came of it: for metrics, which must never count down."""

    __tablename__ = "sms_totals"

    country: Mapped[str] = mapped_column(primary_key=True)
    sent: Mapped[int]
    converted: Mapped[int]
    undelivered: Mapped[int]


class Breaker(Base):
    """A circuit breaker that is not closed: no text goes to ``subject`` until ``open_until_ms``, and then a few on trial.

    A closed one stays for its ``since_ms``: messages before that moment do not open it again.
    """

    __tablename__ = "sms_breakers"

    subject: Mapped[str] = mapped_column(primary_key=True)
    country: Mapped[str]
    prefix: Mapped[bytes | None]
    is_open: Mapped[bool]
    open_until_ms: Mapped[int]
    trials_left: Mapped[int]
    since_ms: Mapped[int]


@dataclass(frozen=True)
class Count:
    """Sessions whose codes people had time to enter, and in how many of them one was entered."""

    sent: int
    converted: int


def record(db: Connection, **values: Any) -> None:
    """Store a message that is about to be sent."""
    db.execute(insert(db, Send).values(values))


def forget(db: Connection, ref: str) -> None:
    """Delete a message that was not sent after all."""
    db.execute(delete(Send).where(Send.ref == ref))


def convert(db: Connection, sid: str, now_ms: int) -> Sequence[str]:
    """Note that the code of a session was entered, once: the country of every message that took."""
    statement = update(Send).where(Send.sid == sid, Send.converted_at_ms.is_(None)).values(converted_at_ms=now_ms)
    return db.execute(statement.returning(Send.country)).scalars().all()


def deliver(db: Connection, ref: str, now_ms: int) -> None:
    """Note that a message arrived."""
    db.execute(update(Send).where(Send.ref == ref, Send.delivered_at_ms.is_(None)).values(delivered_at_ms=now_ms))


def fail(db: Connection, ref: str, code: int | None, now_ms: int) -> str | None:
    """Note that a message did not arrive, once: its country."""
    statement = update(Send).where(Send.ref == ref, Send.failed_at_ms.is_(None), Send.delivered_at_ms.is_(None))
    statement = statement.values(failed_at_ms=now_ms, failure_code=code)
    return db.execute(statement.returning(Send.country)).scalar_one_or_none()


def last_failed(db: Connection, number_index: bytes, after_ms: int) -> bool:
    """Whether the newest message to a number since ``after_ms`` did not arrive."""
    statement = select(Send.failed_at_ms).where(Send.number_index == number_index, Send.sent_at_ms > after_ms)
    newest = db.execute(statement.order_by(Send.sent_at_ms.desc()).limit(1)).one_or_none()
    return newest is not None and newest.failed_at_ms is not None


def add_to_totals(db: Connection, country: str, *, sent: int = 0, converted: int = 0, undelivered: int = 0) -> None:
    """Count."""
    values = {"sent": sent, "converted": converted, "undelivered": undelivered}
    statement = insert(db, Total).values(country=country, **values)
    added = {name: getattr(Total, name) + statement.excluded[name] for name in values}
    db.execute(statement.on_conflict_do_update(index_elements=["country"], set_=added))


def totals(db: Connection) -> Sequence[Row[Any]]:
    """Every country that was ever sent to."""
    return db.execute(select(*Total.__table__.columns).order_by(Total.country)).all()


def count(db: Connection, where: Any, *, since_ms: int, until_ms: int) -> Count:
    """The messages since ``since_ms`` that were sent until ``until_ms``, or whose code was entered however young they are.

    Those of one session count as one: a code that is entered speaks for one person, however often it was sent.
    """
    entered = Send.converted_at_ms.is_not(None)
    converted_sid = case((entered, Send.sid))
    statement = select(func.count(Send.sid.distinct()), func.count(converted_sid.distinct()))
    statement = statement.where(where, Send.sent_at_ms >= since_ms)
    sent, converted = db.execute(statement.where((Send.sent_at_ms <= until_ms) | entered)).one()
    return Count(sent, converted)


def count_by_country(db: Connection, after_ms: int) -> Sequence[RowMapping]:
    """By country: messages after ``after_ms``, entered, delivered, failed."""
    counted = {
        "sent": func.count(),
        "converted": func.count(Send.converted_at_ms),
        "delivered": func.count(Send.delivered_at_ms),
        "undelivered": func.count(Send.failed_at_ms),
    }
    columns = [column.label(name) for name, column in counted.items()]
    statement = select(Send.country, *columns).where(Send.sent_at_ms > after_ms)
    return db.execute(statement.group_by(Send.country).order_by(Send.country)).mappings().all()


def forget_before(db: Connection, oldest_ms: int) -> None:
    """Delete the messages that no question is asked about any more, and the breakers that closed before them."""
    db.execute(delete(Send).where(Send.sent_at_ms < oldest_ms))
    db.execute(delete(Breaker).where(Breaker.is_open.is_(False), Breaker.since_ms < oldest_ms))


def breaker(db: Connection, subject: str) -> Row[Any] | None:
    """The breaker of ``subject``, if it ever opened."""
    return db.execute(select(*Breaker.__table__.columns).where(Breaker.subject == subject)).one_or_none()


def breakers(db: Connection) -> Sequence[Row[Any]]:
    """Every breaker that is not closed."""
    statement = select(*Breaker.__table__.columns).where(Breaker.is_open.is_(True))
    return db.execute(statement.order_by(Breaker.country, Breaker.subject)).all()


def open_breaker(db: Connection, subject: str, country: str, prefix: bytes | None, **state: int) -> bool:
    """Open a closed breaker: whether nobody else just had."""
    values = {"is_open": True, **state}
    statement = insert(db, Breaker).values(subject=subject, country=country, prefix=prefix, **values)
    statement = statement.on_conflict_do_update(index_elements=["subject"], set_=values, where=Breaker.is_open.is_(False))
    return db.execute(statement.returning(Breaker.subject)).one_or_none() is not None


def reopen_breaker(db: Connection, subject: str, was_until_ms: int, **state: int) -> bool:
    """Leave the trial for another pause: whether nobody else just had."""
    statement = update(Breaker).where(
        Breaker.subject == subject, Breaker.open_until_ms == was_until_ms, Breaker.is_open.is_(True)
    )
    return db.execute(statement.values(state)).rowcount == 1


def close_breaker(db: Connection, subject: str, now_ms: int) -> bool:
    """Close: whether it was open."""
    statement = update(Breaker).where(Breaker.subject == subject, Breaker.is_open.is_(True))
    return db.execute(statement.values(is_open=False, since_ms=now_ms)).rowcount == 1


def give_trial_back(db: Connection, subject: str, now_ms: int, most: int) -> None:
    """Take back that a message of a trial was used up."""
    trial = (
        Breaker.subject == subject,
        Breaker.is_open.is_(True),
        Breaker.open_until_ms <= now_ms,
        Breaker.trials_left < most,
    )
    db.execute(update(Breaker).where(*trial).values(trials_left=Breaker.trials_left + 1))


def take_trial(db: Connection, subject: str, now_ms: int) -> bool:
    """Use up one message of a trial: whether there was one left."""
    trial = (Breaker.subject == subject, Breaker.is_open.is_(True), Breaker.open_until_ms <= now_ms, Breaker.trials_left > 0)
    return db.execute(update(Breaker).where(*trial).values(trials_left=Breaker.trials_left - 1)).rowcount == 1
