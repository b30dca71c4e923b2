"""The newest change that each homeserver has made of each address, and which of its requests were seen."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, chunks, insert

_PER_STATEMENT = 500

Moment = tuple[int, int]
"""``ts`` (ms) and ``seq`` of a change: of two, the greater is newer."""


class NewestChange(Base):
    """When ``homeserver`` changed an address last, by its own account. Nothing older changes it, however late it comes.

    It outlives the binding, and names neither address nor user: the address is a keyed index of this table's own.
    """

    __tablename__ = "homeserver_changes"

    homeserver: Mapped[str] = mapped_column(primary_key=True)
    address_index: Mapped[bytes] = mapped_column(primary_key=True)
    ts: Mapped[int]
    seq: Mapped[int]


class SeenRequest(Base):
    """A request of a homeserver that was seen, and need not be remembered any longer than it would be believed."""

    __tablename__ = "homeserver_requests"

    homeserver: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(primary_key=True)
    expires_at_ms: Mapped[int] = mapped_column(index=True)


def newest(db: Connection, homeserver: str, address_indexes: Sequence[bytes]) -> dict[bytes, Moment]:
    """The newest change of each of these addresses that ``homeserver`` has changed."""
    wanted = select(NewestChange.address_index, NewestChange.ts, NewestChange.seq)
    return {
        row.address_index: (row.ts, row.seq)
        for some in chunks(list(address_indexes), _PER_STATEMENT)
        for row in db.execute(wanted.where(NewestChange.homeserver == homeserver, NewestChange.address_index.in_(some)))
    }


def put_newest(db: Connection, homeserver: str, changes: Mapping[bytes, Moment]) -> None:
    """Remember the newest change of each of these addresses."""
    if changes:
        statement = insert(db, NewestChange)
        newer = {name: statement.excluded[name] for name in ("ts", "seq")}
        rows = [
            {"homeserver": homeserver, "address_index": index, "ts": ts, "seq": seq} for index, (ts, seq) in changes.items()
        ]
        db.execute(statement.on_conflict_do_update(index_elements=["homeserver", "address_index"], set_=newer), rows)


def spend_request(db: Connection, homeserver: str, request_id: str, expires_at_ms: int) -> bool:
    """Remember a request: whether it was not seen before."""
    statement = insert(db, SeenRequest).values(homeserver=homeserver, request_id=request_id, expires_at_ms=expires_at_ms)
    return db.execute(statement.on_conflict_do_nothing().returning(SeenRequest.request_id)).one_or_none() is not None


def forget_requests(db: Connection, now_ms: int) -> None:
    """Forget requests that would not be believed any more."""
    db.execute(delete(SeenRequest).where(SeenRequest.expires_at_ms < now_ms))
