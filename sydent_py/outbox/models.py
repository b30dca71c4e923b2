"""Messages that wait to be delivered."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Index, Row, case, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import BIG_ID, Base, insert


class Message(Base):
    """One message to ``destination``, due at ``due_at_ms``. What it says is sealed. ``user_id`` is whose doing it is."""

    __tablename__ = "outbox"
    # An id is never used again: whoever delivers a message that was erased meanwhile must not delete another one.
    __table_args__ = (Index("ix_outbox_kind_due_at_ms", "kind", "due_at_ms"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    kind: Mapped[str]
    destination: Mapped[str]
    user_id: Mapped[str] = mapped_column(index=True)
    content: Mapped[bytes]
    attempts: Mapped[int]
    created_at_ms: Mapped[int]
    due_at_ms: Mapped[int]


def add(db: Connection, *, kind: str, destination: str, user_id: str, content: bytes, now_ms: int) -> None:
    """Queue one message, due now."""
    values = {"kind": kind, "destination": destination, "user_id": user_id, "content": content, "attempts": 0}
    db.execute(insert(db, Message).values(**values, created_at_ms=now_ms, due_at_ms=now_ms))


def is_any_due(db: Connection, kind: str, now_ms: int) -> bool:
    """Whether a message of this kind is due."""
    statement = select(Message.id).where(Message.kind == kind, Message.due_at_ms <= now_ms).limit(1)
    return db.execute(statement).one_or_none() is not None


def backlog(db: Connection, kind: str) -> tuple[int, int | None]:
    """How many messages of this kind wait, and when the oldest was written."""
    statement = select(func.count(), func.min(Message.created_at_ms)).where(Message.kind == kind)
    waiting, oldest_ms = db.execute(statement).one()
    return waiting, oldest_ms


def due(db: Connection, kind: str, now_ms: int, *, busy: Collection[str], limit: int) -> list[Row[Any]]:
    """A due message to each destination that is not ``busy``, for at most ``limit`` destinations.

    Of those to one destination the one that was tried least, and then the oldest: none holds up the others by failing.
    """
    turn = func.row_number().over(partition_by=Message.destination, order_by=(Message.attempts, Message.id))
    waiting = select(Message.id, turn.label("turn")).where(Message.kind == kind, Message.due_at_ms <= now_ms)
    ranked = waiting.where(Message.destination.not_in(busy)).subquery()
    first = select(*Message.__table__.columns).join(ranked, ranked.c.id == Message.id).where(ranked.c.turn == 1)
    # What has waited longest comes first, so that nobody gets ahead by the names of their destinations.
    return list(db.execute(first.order_by(Message.due_at_ms, Message.id).limit(limit)))


def claim(db: Connection, message_id: int, due_at_ms: int, until_ms: int) -> bool:
    """Put off a message that was due at ``due_at_ms``: whether nobody else had."""
    due_then = (Message.id == message_id, Message.due_at_ms == due_at_ms)
    return db.execute(update(Message).where(*due_then).values(due_at_ms=until_ms)).rowcount == 1


def postpone(db: Connection, message_id: int, *, attempts: int, due_at_ms: int) -> None:
    """Try the message again at ``due_at_ms``."""
    db.execute(update(Message).where(Message.id == message_id).values(attempts=attempts, due_at_ms=due_at_ms))


def postpone_destination(db: Connection, kind: str, destination: str, *, attempts: int, due_at_ms: int) -> None:
    """Try nothing that waits for ``destination`` before ``due_at_ms``: all of it has failed together."""
    waiting = (Message.kind == kind, Message.destination == destination, Message.due_at_ms < due_at_ms)
    most = case((Message.attempts > attempts, Message.attempts), else_=attempts)
    db.execute(update(Message).where(*waiting).values(attempts=most, due_at_ms=due_at_ms))


def remove(db: Connection, message_id: int) -> None:
    """Delete a message that was delivered or given up."""
    db.execute(delete(Message).where(Message.id == message_id))


def remove_of(db: Connection, user_id: str) -> None:
    """Delete every message that ``user_id`` caused."""
    db.execute(delete(Message).where(Message.user_id == user_id))
