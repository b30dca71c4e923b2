"""The bindings: one register for every origin and address."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Index, Row, and_, delete, func, or_, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, chunks, insert

ADDRESSES_PER_STATEMENT = 500


class Binding(Base):
    """The newest binding of an address that ``origin`` vouches for. The address is sealed, and found by its keyed index.

    ``commitment`` is that of its entry in the log of a peer; None for our own. ``homeserver`` is the trusted one at whose word
    the binding stands, beside a validation or without.
    """

    __tablename__ = "bindings"
    __table_args__ = (
        # Of most bindings there is none, and an index of those would be for nothing.
        Index(
            "ix_bindings_homeserver",
            "homeserver",
            "address_index",
            sqlite_where=text("homeserver IS NOT NULL"),
            postgresql_where=text("homeserver IS NOT NULL"),
        ),
    )

    address_index: Mapped[bytes] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(primary_key=True, index=True)
    medium: Mapped[str]
    address: Mapped[bytes]
    user_id: Mapped[str] = mapped_column(index=True)
    ts: Mapped[int]
    not_before: Mapped[int]
    not_after: Mapped[int] = mapped_column(index=True)
    commitment: Mapped[bytes | None] = mapped_column(index=True)
    homeserver: Mapped[str | None]


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


def of_addresses(db: Connection, address_indexes: Sequence[bytes]) -> list[Any]:
    """Address, origin, user, ``ts`` and end of every binding of these addresses, of any origin."""
    wanted = select(Binding.address_index, Binding.origin, Binding.user_id, Binding.ts, Binding.not_after)
    return [
        row
        for some in chunks(list(address_indexes), ADDRESSES_PER_STATEMENT)
        for row in db.execute(wanted.where(Binding.address_index.in_(some)))
    ]


def erased(db: Connection, origin: str, commitments: Sequence[bytes]) -> list[Row[Any]]:
    """The bindings of ``origin`` that come from entries with these commitments."""
    of_origin = select(*Binding.__table__.columns).where(Binding.origin == origin)
    return [
        row
        for some in chunks(list(commitments), ADDRESSES_PER_STATEMENT)
        for row in db.execute(of_origin.where(Binding.commitment.in_(some)))
    ]


def put(db: Connection, bindings: Sequence[dict[str, object]]) -> None:
    """Store bindings, each in place of the one that its origin had for the address: what is noted of that stays."""
    if bindings:
        statement = insert(db, Binding)
        names = ("address", "user_id", "ts", "not_before", "not_after", "commitment")
        changed = {name: statement.excluded[name] for name in names}
        db.execute(statement.on_conflict_do_update(index_elements=["origin", "address_index"], set_=changed), list(bindings))


def remove(db: Connection, origin: str, address_indexes: Sequence[bytes]) -> None:
    """Delete what ``origin`` says of these addresses."""
    for some in chunks(list(address_indexes), ADDRESSES_PER_STATEMENT):
        db.execute(delete(Binding).where(Binding.origin == origin, Binding.address_index.in_(some)))


def note_homeserver(db: Connection, origin: str, address_index: bytes, homeserver: str) -> None:
    """Note at whose word a binding stands."""
    statement = update(Binding).where(Binding.origin == origin, Binding.address_index == address_index)
    db.execute(statement.values(homeserver=homeserver))


def of_homeserver(db: Connection, homeserver: str, after: bytes, limit: int) -> list[Row[Any]]:
    """So many bindings that stand at the word of a homeserver, in the order of their address indexes from ``after`` on."""
    wanted = select(Binding.address_index, Binding.medium, Binding.address, Binding.user_id)
    wanted = wanted.where(Binding.homeserver == homeserver, Binding.address_index > after)
    return list(db.execute(wanted.order_by(Binding.address_index).limit(limit)))


def origins(db: Connection) -> set[str]:
    """Every origin that says anything."""
    return set(db.execute(select(Binding.origin).distinct()).scalars())


def of_origin(db: Connection, origin: str, limit: int) -> list[Row[Any]]:
    """So many bindings of an origin."""
    return list(db.execute(select(*Binding.__table__.columns).where(Binding.origin == origin).limit(limit)))


def expired(db: Connection, now_ms: int, limit: int) -> list[Row[Any]]:
    """So many bindings that have ended."""
    return list(db.execute(select(*Binding.__table__.columns).where(Binding.not_after <= now_ms).limit(limit)))


def disputed(db: Connection, after: bytes, limit: int) -> list[Row[Any]]:
    """One binding of each address that several origins speak of, in the order of their indexes from ``after`` on."""
    addresses = select(Binding.address_index).where(Binding.address_index > after).group_by(Binding.address_index)
    addresses = addresses.having(func.count() > 1).order_by(Binding.address_index).limit(limit)
    return list(db.execute(select(*Binding.__table__.columns).where(Binding.address_index.in_(addresses))))


def conflicts(db: Connection, now_ms: int, limit: int) -> list[Row[Any]]:
    """Valid bindings of so many addresses that origins give to different users, together by address."""
    disputed = select(Binding.address_index).where(Binding.not_after > now_ms).group_by(Binding.address_index)
    disputed = disputed.having(func.count(Binding.user_id.distinct()) > 1).order_by(Binding.address_index).limit(limit)
    statement = select(*Binding.__table__.columns).where(Binding.address_index.in_(disputed), Binding.not_after > now_ms)
    return list(db.execute(statement.order_by(Binding.address_index, Binding.ts, Binding.origin)))


def conflict_counts(db: Connection, now_ms: int) -> dict[str, int]:
    """How many addresses each origin gives to another user than some other origin does, in valid bindings; it looks at all of them."""
    one, other = Binding.__table__, Binding.__table__.alias()
    differs = and_(other.c.address_index == one.c.address_index, other.c.user_id != one.c.user_id)
    statement = select(one.c.origin, func.count(one.c.address_index.distinct())).join(other, differs)
    statement = statement.where(one.c.not_after > now_ms, other.c.not_after > now_ms).group_by(one.c.origin)
    return dict(db.execute(statement).all())


def spend_unbind(db: Connection, request_index: bytes, now_ms: int) -> bool:
    """Remember a signed request that removes a binding: whether it had never done so."""
    statement = insert(db, SpentUnbind).values(request_index=request_index, created_at_ms=now_ms).on_conflict_do_nothing()
    return db.execute(statement.returning(SpentUnbind.request_index)).one_or_none() is not None


def ask_once(db: Connection, request_index: bytes, ts: int) -> bool:
    """Note that the owner of the binding made at ``ts`` is asked: whether nobody has asked yet."""
    unasked = or_(SpentUnbind.asked_ts.is_(None), SpentUnbind.asked_ts != ts)
    statement = update(SpentUnbind).where(SpentUnbind.request_index == request_index, unasked)
    return db.execute(statement.values(asked_ts=ts)).rowcount == 1
