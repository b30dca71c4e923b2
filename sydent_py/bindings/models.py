"""The bindings: one register for every origin and address."""

from sqlalchemy import Connection, Row, delete, func, select
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


def lock(db: Connection, origin: str, address_index: bytes) -> Row[str, int] | None:
    """User ID and ``ts`` of the binding of an address, after which other transactions on it wait for this one.

    SQLite's writers wait for each other anyway; a row lock would not hold where there is no row yet.
    """
    if db.dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(int.from_bytes(address_index[:8], "big", signed=True))))
    statement = select(Binding.user_id, Binding.ts)
    return db.execute(statement.where(Binding.origin == origin, Binding.address_index == address_index)).one_or_none()


def put(db: Connection, **values: object) -> None:
    """Store a binding in place of the one its origin had for the address."""
    statement = insert(db, Binding).values(**values)
    changed = {name: statement.excluded[name] for name in ("address", "user_id", "ts", "not_before", "not_after")}
    db.execute(statement.on_conflict_do_update(index_elements=["origin", "address_index"], set_=changed))


def remove(db: Connection, origin: str, address_index: bytes) -> None:
    """Delete the binding of an address."""
    db.execute(delete(Binding).where(Binding.origin == origin, Binding.address_index == address_index))
