"""Validation sessions."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, UniqueConstraint, and_, case, delete, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, insert


class Session(Base):
    """One attempt of one account to prove one address. ``user_id`` is the account, or stands for the homeserver.

    ``send_attempt`` is the greatest that has been sent, ``sending_attempt`` the one that is being sent until
    ``sending_until_ms``: a sender that died in between leaves a claim that lapses. Times are milliseconds since the epoch.
    """

    __tablename__ = "validation_sessions"
    __table_args__ = (
        UniqueConstraint("user_id", "address_index", "client_secret_index", name="uq_validation_sessions_attempt"),
    )

    sid: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    client_secret_index: Mapped[bytes]
    address_index: Mapped[bytes]
    medium: Mapped[str]
    address: Mapped[bytes]
    next_link: Mapped[bytes | None]
    token_hash: Mapped[bytes | None]
    token_expires_at_ms: Mapped[int | None]
    guesses: Mapped[int]
    send_attempt: Mapped[int]
    sending_attempt: Mapped[int]
    sending_until_ms: Mapped[int]
    modified_at_ms: Mapped[int] = mapped_column(index=True)
    validated_at_ms: Mapped[int | None]
    spent_at_ms: Mapped[int | None]


NOTHING_SENT = -1


def open_session(db: Connection, *, sid: str, oldest_ms: int, now_ms: int, most_guesses: int, **key: Any) -> str:
    """The sid of the open session of account, address and client secret: an existing one, or a new one named ``sid``.

    A session that was spent, or last modified before ``oldest_ms``, or whose code was not found in ``most_guesses``,
    makes room for a new one.
    """
    same = [Session.user_id == key["user_id"], Session.address_index == key["address_index"]]
    same.append(Session.client_secret_index == key["client_secret_index"])
    guessed = and_(
        Session.token_expires_at_ms.is_not(None), Session.guesses >= most_guesses, Session.validated_at_ms.is_(None)
    )
    over = or_(Session.spent_at_ms.is_not(None), Session.modified_at_ms < oldest_ms, guessed)
    db.execute(delete(Session).where(*same, over))
    fresh = {
        "sid": sid,
        "guesses": 0,
        "send_attempt": NOTHING_SENT,
        "sending_attempt": NOTHING_SENT,
        "sending_until_ms": 0,
        "modified_at_ms": now_ms,
    }
    # Not "do nothing": the session of an identical request must stay until this one has claimed it.
    statement = (
        insert(db, Session)
        .values(**fresh, **key)
        .on_conflict_do_update(index_elements=["user_id", "address_index", "client_secret_index"], set_={"sid": Session.sid})
    )
    return str(db.execute(statement.returning(Session.sid)).scalar_one())


def claim_send(db: Connection, sid: str, attempt: int, *, now_ms: int, until_ms: int) -> bool:
    """Become the one who sends ``attempt``: whether nobody has sent it and nobody is sending it.

    ``until_ms`` is when the claim lapses, and what it is known by from here on.
    """
    free = or_(Session.sending_attempt < attempt, Session.sending_until_ms < now_ms)
    statement = update(Session).where(Session.sid == sid, Session.send_attempt < attempt, free)
    return db.execute(statement.values(sending_attempt=attempt, sending_until_ms=until_ms)).rowcount == 1


def put_token(
    db: Connection,
    sid: str,
    until_ms: int,
    *,
    token_hash: bytes,
    expires_at_ms: int | None,
    next_link: bytes | None,
    now_ms: int,
) -> bool:
    """Put a new token in the place of the old one: whether the claim still stands.

    The guesses start again, but not those of a code that is short enough to guess, which is one that expires. The session
    lives longer by it, unless it is validated: a proof does not become younger by asking for another.
    """
    modified_at_ms = case((Session.validated_at_ms.is_(None), now_ms), else_=Session.modified_at_ms)
    values: dict[str, Any] = {"token_hash": token_hash, "token_expires_at_ms": expires_at_ms, "next_link": next_link}
    values |= {"modified_at_ms": modified_at_ms, "guesses": 0 if expires_at_ms is None else Session.guesses}
    return db.execute(update(Session).where(*_claimed(sid, until_ms)).values(values)).rowcount == 1


def finish_send(db: Connection, sid: str, until_ms: int) -> None:
    """Note that the attempt was sent."""
    db.execute(update(Session).where(*_claimed(sid, until_ms)).values(send_attempt=Session.sending_attempt))


def release_send(db: Connection, sid: str, until_ms: int) -> None:
    """Give the claim back, because nothing was sent: the same attempt may be made again.

    A session that never had a token is deleted, so that refused requests leave nothing behind.
    """
    claimed = _claimed(sid, until_ms)
    db.execute(delete(Session).where(*claimed, Session.token_hash.is_(None)))
    db.execute(update(Session).where(*claimed).values(sending_attempt=Session.send_attempt, sending_until_ms=0))


def _claimed(sid: str, until_ms: int) -> tuple[ColumnElement[bool], ...]:
    return Session.sid == sid, Session.sending_until_ms == until_ms


def get(db: Connection, sid: str) -> Row[Any] | None:
    """The session named ``sid``."""
    return db.execute(select(*Session.__table__.columns).where(Session.sid == sid)).one_or_none()


def of_user(db: Connection, user_id: str, oldest_ms: int) -> list[Row[Any]]:
    """The sessions of ``user_id`` that were modified since ``oldest_ms``, oldest first."""
    statement = select(*Session.__table__.columns).where(Session.user_id == user_id, Session.modified_at_ms >= oldest_ms)
    return list(db.execute(statement.order_by(Session.modified_at_ms)))


def remove_of(db: Connection, user_id: str) -> int:
    """Delete every session of ``user_id``: how many."""
    return db.execute(delete(Session).where(Session.user_id == user_id)).rowcount


def count_guess(db: Connection, sid: str, most: int) -> bool:
    """Count one more guess: whether it was still allowed."""
    statement = update(Session).where(Session.sid == sid, Session.guesses < most)
    return db.execute(statement.values(guesses=Session.guesses + 1)).rowcount == 1


def validate(db: Connection, sid: str, token_hash: bytes, now_ms: int) -> bool:
    """Mark the session validated, once: whether ``token_hash`` is still its token.

    Guesses start again, because the right token is no guess.
    """
    session = update(Session).where(Session.sid == sid, Session.token_hash == token_hash)
    current = db.execute(session.values(guesses=0)).rowcount == 1
    db.execute(session.where(Session.validated_at_ms.is_(None)).values(validated_at_ms=now_ms, modified_at_ms=now_ms))
    return current


def spend(db: Connection, sid: str, now_ms: int) -> bool:
    """Use the proof up: whether nobody else had."""
    statement = update(Session).where(Session.sid == sid, Session.spent_at_ms.is_(None))
    return db.execute(statement.values(spent_at_ms=now_ms)).rowcount == 1


def forget_before(db: Connection, oldest_ms: int) -> None:
    """Delete the sessions that were last modified before ``oldest_ms``."""
    db.execute(delete(Session).where(Session.modified_at_ms < oldest_ms))
