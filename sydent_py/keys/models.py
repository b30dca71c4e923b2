"""Statements of every origin, the chains that were erased without the key, and challenges."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Index, Row, and_, delete, func, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, chunks, insert

PER_STATEMENT = 500


class KeyStatement(Base):
    """An entry of ``origin``'s log that holds a statement of a user: payload, canonical JSON, and nonce as the entry commits to them.

    ``entry_index`` is its place in a peer's log, and ``proof`` shows it there once it was fetched; None for our own.
    """

    __tablename__ = "key_statements"
    __table_args__ = (
        # Of most there is one, and they are many.
        Index(
            "ix_key_statements_unproved",
            "origin",
            "entry_index",
            sqlite_where=text("proof IS NULL"),
            postgresql_where=text("proof IS NULL"),
        ),
    )

    user_id: Mapped[str] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(primary_key=True, index=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    master: Mapped[bytes]
    is_reset: Mapped[bool]
    ts: Mapped[int]
    commitment: Mapped[bytes] = mapped_column(index=True)
    nonce: Mapped[bytes]
    payload: Mapped[bytes]
    entry_index: Mapped[int | None]
    proof: Mapped[str | None]


class KeyEnding(Base):
    """A user, as a keyed index, whose statements were erased without one that revokes them."""

    __tablename__ = "key_endings"

    origin: Mapped[str] = mapped_column(primary_key=True)
    user_index: Mapped[bytes] = mapped_column(primary_key=True)
    ended_at_ms: Mapped[int]


class KeyChallenge(Base):
    """A challenge that was given to a user, as a hash and a keyed index."""

    __tablename__ = "key_challenges"

    challenge_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_index: Mapped[bytes]
    expires_at_ms: Mapped[int] = mapped_column(index=True)


def add(db: Connection, **values: object) -> None:
    """Store a statement."""
    db.execute(insert(db, KeyStatement).values(**values))


def of_user(db: Connection, user_id: str, origin: str) -> list[Row[Any]]:
    """What a user has stated in the log of ``origin``, oldest first."""
    wanted = select(*KeyStatement.__table__.columns).where(KeyStatement.user_id == user_id, KeyStatement.origin == origin)
    return list(db.execute(wanted.order_by(KeyStatement.seq)))


def ends(db: Connection, user_ids: Sequence[str], limit: int) -> list[Any]:
    """The newest ``limit`` statements of each of these users in the log of each origin; together, oldest first."""
    found: list[Any] = []
    chain = KeyStatement.user_id, KeyStatement.origin
    for some in chunks(list(user_ids), PER_STATEMENT):
        heads = (
            select(*chain, func.max(KeyStatement.seq).label("seq")).where(KeyStatement.user_id.in_(some)).group_by(*chain)
        )
        head = heads.subquery()
        of_chain = and_(KeyStatement.user_id == head.c.user_id, KeyStatement.origin == head.c.origin)
        wanted = select(*KeyStatement.__table__.columns).join(head, of_chain).where(KeyStatement.seq > head.c.seq - limit)
        found += db.execute(wanted.order_by(*chain, KeyStatement.seq)).all()
    return found


def users_of(db: Connection, origin: str, commitments: Sequence[bytes]) -> set[str]:
    """Whose statements these entries of an origin's log hold."""
    of_origin = select(KeyStatement.user_id).where(KeyStatement.origin == origin)
    return {
        user_id
        for some in chunks(list(commitments), PER_STATEMENT)
        for user_id in db.execute(of_origin.where(KeyStatement.commitment.in_(some))).scalars()
    }


def remove(db: Connection, user_id: str, origin: str) -> int:
    """Delete what a user has stated in the log of ``origin``: how many statements."""
    return db.execute(delete(KeyStatement).where(KeyStatement.user_id == user_id, KeyStatement.origin == origin)).rowcount


def remove_origin(db: Connection, origin: str) -> None:
    """Delete all that is known from the log of ``origin``."""
    db.execute(delete(KeyStatement).where(KeyStatement.origin == origin))
    db.execute(delete(KeyEnding).where(KeyEnding.origin == origin))


def origins(db: Connection) -> set[str]:
    """Every origin whose log holds statements."""
    return set(db.execute(select(KeyStatement.origin).distinct()).scalars())


def unproved(db: Connection, origin: str, size: int, limit: int) -> list[Row[Any]]:
    """Statements among the first ``size`` entries of a peer's log that have no proof yet."""
    wanted = select(KeyStatement.commitment, KeyStatement.entry_index, KeyStatement.ts, KeyStatement.seq).where(
        KeyStatement.origin == origin, KeyStatement.proof.is_(None), KeyStatement.entry_index < size
    )
    return list(db.execute(wanted.order_by(KeyStatement.entry_index).limit(limit)))


def prove(db: Connection, origin: str, commitment: bytes, proof: str) -> None:
    """Keep the proof that an entry is in the log of ``origin``."""
    of_entry = (KeyStatement.origin == origin, KeyStatement.commitment == commitment)
    db.execute(update(KeyStatement).where(*of_entry).values(proof=proof))


def of_several(db: Connection, after: str, limit: int) -> list[str]:
    """So many users of whom several origins hold statements, with several keys in all, in order from ``after`` on."""
    users = select(KeyStatement.user_id).where(KeyStatement.user_id > after).group_by(KeyStatement.user_id)
    several = (func.count(each.distinct()) > 1 for each in (KeyStatement.origin, KeyStatement.master))
    return list(db.execute(users.having(and_(*several)).order_by(KeyStatement.user_id).limit(limit)).scalars())


def ended_at_ms(db: Connection, origin: str, user_index: bytes) -> int | None:
    """When a user's statements were erased without being revoked."""
    of_user = (KeyEnding.origin == origin, KeyEnding.user_index == user_index)
    return db.execute(select(KeyEnding.ended_at_ms).where(*of_user)).scalar_one_or_none()


def end(db: Connection, origin: str, user_index: bytes, now_ms: int) -> None:
    """Note that a user's statements were erased without being revoked."""
    statement = insert(db, KeyEnding).values(origin=origin, user_index=user_index, ended_at_ms=now_ms)
    later = {"ended_at_ms": statement.excluded.ended_at_ms}
    db.execute(statement.on_conflict_do_update(index_elements=["origin", "user_index"], set_=later))


def forget_endings_before(db: Connection, then_ms: int) -> None:
    """Delete the notes of what ended before ``then_ms``."""
    db.execute(delete(KeyEnding).where(KeyEnding.ended_at_ms < then_ms))


def challenge(db: Connection, challenge_hash: bytes, user_index: bytes, expires_at_ms: int) -> None:
    """Remember a challenge."""
    db.execute(
        insert(db, KeyChallenge).values(challenge_hash=challenge_hash, user_index=user_index, expires_at_ms=expires_at_ms)
    )


def spend_challenge(db: Connection, challenge_hash: bytes, user_index: bytes, now_ms: int) -> bool:
    """Forget a challenge: whether it was given to this user, and lives."""
    wanted = (KeyChallenge.challenge_hash == challenge_hash, KeyChallenge.user_index == user_index)
    statement = delete(KeyChallenge).where(*wanted, KeyChallenge.expires_at_ms > now_ms)
    return db.execute(statement).rowcount == 1


def forget_challenges_before(db: Connection, now_ms: int) -> None:
    """Delete the challenges that live no more."""
    db.execute(delete(KeyChallenge).where(KeyChallenge.expires_at_ms <= now_ms))


def forget_challenges(db: Connection, user_index: bytes) -> None:
    """Delete the challenges of a user."""
    db.execute(delete(KeyChallenge).where(KeyChallenge.user_index == user_index))
