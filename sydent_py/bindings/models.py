"""The bindings: one register for every origin and address."""

from typing import Any

from sqlalchemy import Connection, Row, delete, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, insert


class Binding(Base):
    """The newest binding of an address that ``origin`` vouches for. The address is sealed, and found by its keyed index."""

    __tablename__ = "bindings"

    origin: Mapped[str] = mapped_column(primary_key=True)
    address_index: Mapped[bytes] = mapped_column(primary_key=True)
    medium: Mapped[str]
    address: Mapped[bytes]
    user_id: Mapped[str] = mapped_column(index=True)
    ts: Mapped[int]
    not_before: Mapped[int]
    not_after: Mapped[int]


class SpentUnbind(Base):
    """A user and an address that a signed request of a homeserver has removed the binding of, as a keyed index.

    ``asked_ts`` is the ``ts`` of the newer binding whose owner was asked about the same request.
    """

    __tablename__ = "spent_unbinds"

    request_index: Mapped[bytes] = mapped_column(primary_key=True)
    created_at_ms: Mapped[int]
    asked_ts: Mapped[int | None]


def get(db: Connection, origin: str, address_index: bytes) -> Row[str, int] | None:
    """User ID and ``ts`` of the binding of an address."""
    statement = select(Binding.user_id, Binding.ts)
    return db.execute(statement.where(Binding.origin == origin, Binding.address_index == address_index)).one_or_none()


def of_user(db: Connection, user_id: str) -> list[Row[Any]]:
    """Every binding to ``user_id``, of any origin, oldest first."""
    return list(db.execute(select(*Binding.__table__.columns).where(Binding.user_id == user_id).order_by(Binding.ts)))


def put(db: Connection, **values: object) -> None:
    """Store a binding in place of the one its origin had for the address."""
    statement = insert(db, Binding).values(**values)
    changed = {name: statement.excluded[name] for name in ("address", "user_id", "ts", "not_before", "not_after")}
    db.execute(statement.on_conflict_do_update(index_elements=["origin", "address_index"], set_=changed))


def remove(db: Connection, origin: str, address_index: bytes) -> None:
    """Delete the binding of an address."""
    db.execute(delete(Binding).where(Binding.origin == origin, Binding.address_index == address_index))


def spend_unbind(db: Connection, request_index: bytes, now_ms: int) -> bool:
    """Remember a signed request that removes a binding: whether it had never done so."""
    statement = insert(db, SpentUnbind).values(request_index=request_index, created_at_ms=now_ms).on_conflict_do_nothing()
    return db.execute(statement.returning(SpentUnbind.request_index)).one_or_none() is not None


def ask_once(db: Connection, request_index: bytes, ts: int) -> bool:
    """Note that the owner of the binding made at ``ts`` is asked: whether nobody has asked yet."""
    unasked = or_(SpentUnbind.asked_ts.is_(None), SpentUnbind.asked_ts != ts)
    statement = update(SpentUnbind).where(SpentUnbind.request_index == request_index, unasked)
    return db.execute(statement.values(asked_ts=ts)).rowcount == 1
