"""The log's tables: what waits, the entries, the tree's tiles, and its head."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, null, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import BIG_ID, Base, chunks, insert

ONLY_HEAD = 1
COMMITMENTS_PER_STATEMENT = 500


class Recorded:
    """What is kept of a fact: its public ``kind`` and ``ts``, and the rest, which is None once it is erased.

    Payload and nonce are sealed: together they name the address. Both indexes are keyed.
    """

    kind: Mapped[str]
    ts: Mapped[int]
    nonce: Mapped[bytes | None]
    payload: Mapped[bytes | None]
    address_index: Mapped[bytes | None] = mapped_column(index=True)
    user_index: Mapped[bytes | None] = mapped_column(index=True)


class PendingEntry(Recorded, Base):
    """A fact that is vouched for and has no place in the log yet."""

    __tablename__ = "log_pending"

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    # None where an earlier version wrote it, until Log.complete.
    commitment: Mapped[bytes | None] = mapped_column(index=True, unique=True)


class Entry(Recorded, Base):
    """An entry at its place, counted from 0."""

    __tablename__ = "log_entries"

    entry_index: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=False)
    commitment: Mapped[bytes] = mapped_column(index=True, unique=True)


class HashTile(Base):
    """A tile of the tree, as far as it has grown: every partial tile there ever was is how it begins."""

    __tablename__ = "log_tiles"

    level: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=False)
    tile_index: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes]


class Head(Base):
    """The tree that is stored, ``size`` and ``root``, and the checkpoint of the tree that is published, which may be older."""

    __tablename__ = "log_head"

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=False)
    origin: Mapped[str]
    size: Mapped[int]
    root: Mapped[bytes]
    published_size: Mapped[int]
    published_at_ms: Mapped[int]
    checkpoint: Mapped[str]


def add(db: Connection, **values: object) -> None:
    """Queue one entry behind all others."""
    db.execute(insert(db, PendingEntry).values(**values))


def exists(db: Connection) -> bool:
    """Whether there is a head."""
    return db.execute(select(Head.origin)).one_or_none() is not None


def incomplete(db: Connection) -> list[Row[Any]]:
    """Entries that wait and have no commitment."""
    statement = select(PendingEntry.id, PendingEntry.nonce, PendingEntry.payload)
    return list(db.execute(statement.where(PendingEntry.commitment.is_(None))))


def complete(db: Connection, entry_id: int, **values: bytes | None) -> None:
    """Fill in what an entry that waits does not say."""
    db.execute(update(PendingEntry).where(PendingEntry.id == entry_id).values(**values))


def head(db: Connection) -> Row[Any]:
    """The head."""
    return db.execute(select(*Head.__table__.columns)).one()


def begin(db: Connection, *, now_ms: int, **values: object) -> None:
    """Store the head of an empty log, in place of that of any other empty log."""
    db.execute(delete(Head).where(Head.size == 0))
    empty = insert(db, Head).values(id=ONLY_HEAD, size=0, published_size=0, published_at_ms=now_ms, **values)
    db.execute(empty.on_conflict_do_nothing())


def pending(db: Connection, limit: int) -> list[Row[Any]]:
    """What waits and is complete, the oldest first: the public part, and the id."""
    statement = select(PendingEntry.id, PendingEntry.kind, PendingEntry.ts, PendingEntry.commitment)
    statement = statement.where(PendingEntry.commitment.is_not(None))
    return list(db.execute(statement.order_by(PendingEntry.id).limit(limit)))


def backlog(db: Connection) -> tuple[int, int | None]:
    """How many entries wait, and when the oldest was written."""
    count, oldest_ms = db.execute(select(func.count(), func.min(PendingEntry.ts)).select_from(PendingEntry)).one()
    return count, oldest_ms


def advance(db: Connection, *, old_size: int, size: int, root: bytes) -> bool:
    """Move the head from one tree to the next: whether it was there."""
    return db.execute(update(Head).where(Head.size == old_size).values(size=size, root=root)).rowcount == 1


def take(db: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Remove waiting entries, and give what they hold now, the oldest first."""
    statement = delete(PendingEntry).where(PendingEntry.id.in_(ids)).returning(*PendingEntry.__table__.columns)
    return sorted(db.execute(statement), key=lambda row: row.id)


def add_entries(db: Connection, first_index: int, rows: Sequence[Row[Any]]) -> None:
    """Store entries at consecutive places."""
    names = [column.name for column in Entry.__table__.columns if column.name != "entry_index"]
    entries = [{name: getattr(row, name) for name in names} for row in rows]
    db.execute(insert(db, Entry), [{"entry_index": first_index + number, **each} for number, each in enumerate(entries)])


def tile(db: Connection, level: int, tile_index: int) -> bytes | None:
    """The hashes of a tile."""
    place = HashTile.level == level, HashTile.tile_index == tile_index
    return db.execute(select(HashTile.hashes).where(*place)).scalar_one_or_none()


def put_tiles(db: Connection, tiles: Sequence[dict[str, Any]]) -> None:
    """Store tiles, given as ``level``, ``tile_index`` and ``hashes``, in place of shorter ones."""
    statement = insert(db, HashTile)
    longer = statement.on_conflict_do_update(
        index_elements=["level", "tile_index"], set_={"hashes": statement.excluded.hashes}
    )
    db.execute(longer, list(tiles))


def publish(db: Connection, *, origin: str, size: int, checkpoint: str, now_ms: int) -> bool:
    """Let everybody see the stored tree, if it is still of this log and this size: whether it was."""
    statement = update(Head).where(Head.origin == origin, Head.size == size, Head.published_size < size)
    return db.execute(statement.values(checkpoint=checkpoint, published_size=size, published_at_ms=now_ms)).rowcount == 1


def leaves(db: Connection, first_index: int, count: int) -> list[Row[Any]]:
    """The public part of consecutive entries."""
    wanted = Entry.entry_index >= first_index, Entry.entry_index < first_index + count
    return list(db.execute(select(Entry.kind, Entry.ts, Entry.commitment).where(*wanted).order_by(Entry.entry_index)))


def payloads(db: Connection, first_index: int, end: int) -> list[Row[Any]]:
    """Nonce and payload of the entries from ``first_index`` up to ``end``, and not that one."""
    wanted = Entry.entry_index >= first_index, Entry.entry_index < end
    return list(db.execute(select(Entry.nonce, Entry.payload).where(*wanted).order_by(Entry.entry_index)))


def entry(db: Connection, commitment: bytes) -> Row[Any] | None:
    """The entry with this commitment."""
    return db.execute(select(*Entry.__table__.columns).where(Entry.commitment == commitment)).one_or_none()


def entries(db: Connection, commitments: Sequence[bytes]) -> list[Any]:
    """The entries with these commitments: place, kind and time."""
    wanted = select(Entry.entry_index, Entry.kind, Entry.ts, Entry.commitment)
    return [
        row
        for some in chunks(list(commitments), COMMITMENTS_PER_STATEMENT)
        for row in db.execute(wanted.where(Entry.commitment.in_(some)))
    ]


def waits(db: Connection, commitment: bytes) -> Row[Any] | None:
    """The entry with this commitment that has no place yet."""
    return db.execute(select(*PendingEntry.__table__.columns).where(PendingEntry.commitment == commitment)).one_or_none()


def about(db: Connection, address_index: bytes) -> list[Row[Any]]:
    """Every entry about an address, the oldest first; those that wait, which come last, have the ``entry_index`` None."""
    placed = select(*Entry.__table__.columns).where(Entry.address_index == address_index).order_by(Entry.entry_index)
    waiting = select(*PendingEntry.__table__.columns).where(PendingEntry.address_index == address_index)
    return [*db.execute(placed), *db.execute(waiting.order_by(PendingEntry.id))]


def of_user(db: Connection, user_index: bytes, kinds: Sequence[str] | None = None) -> list[Row[Any]]:
    """Every entry about a user, of ``kinds`` where they are given; those that wait have the ``entry_index`` None."""
    found: dict[bytes, Row[Any]] = {}
    # In the order in which entries move; one that moves meanwhile is found twice, and the second time has its place.
    for table, index in ((PendingEntry, null()), (Entry, Entry.entry_index)):
        statement = select(table.kind, table.commitment, table.payload, index.label("entry_index"))
        rows = db.execute(statement.where(*_about_user(table, user_index, kinds)))
        found |= {row.commitment: row for row in rows}
    return list(found.values())


def blank(db: Connection, user_index: bytes, kinds: Sequence[str] | None = None) -> list[bytes]:
    """Erase what the entries about a user hold, of ``kinds`` where they are given: their commitments."""
    commitments: list[bytes | None] = []
    nothing = {"nonce": None, "payload": None, "address_index": None, "user_index": None}
    # In the order in which entries move, so that none slips through between the two.
    for table in (PendingEntry, Entry):
        statement = update(table).where(*_about_user(table, user_index, kinds)).values(**nothing)
        commitments += db.execute(statement.returning(table.commitment)).scalars()
    return [commitment for commitment in commitments if commitment is not None]


def _about_user(table: Any, user_index: bytes, kinds: Sequence[str] | None) -> list[Any]:
    return [table.user_index == user_index, *([] if kinds is None else [table.kind.in_(kinds)])]
