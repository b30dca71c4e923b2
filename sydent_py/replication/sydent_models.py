"""Which rows of Sydent peers were taken over and which not, how far each of them has ours, and what they must be told of the erased."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, chunks, insert

_PER_STATEMENT = 500


class SydentRow(Base):
    """A row of a peer that was taken over, by its id there. What it was about is a keyed index, and stays after a retraction:
    an older row that comes again must not bring back what was taken back.
    """

    __tablename__ = "sydent_rows"

    peer: Mapped[str] = mapped_column(primary_key=True)
    row_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    address_index: Mapped[bytes] = mapped_column(index=True)


class SydentQuarantined(Base):
    """A row of a peer that was not taken over, and why. What it holds is sealed; None where that is too long or no JSON."""

    __tablename__ = "sydent_quarantine"

    peer: Mapped[str] = mapped_column(primary_key=True)
    row_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    received_at_ms: Mapped[int]
    reason: Mapped[str]
    content: Mapped[bytes | None]


class SydentState(Base):
    """How many entries of our log a peer has, and what went wrong with the next ones; 0 ``failures`` where nothing did.

    Of those beyond ``told_size`` it can have heard nothing. ``received_at_ms`` is when it pushed to us last.
    """

    __tablename__ = "sydent_peers"

    name: Mapped[str] = mapped_column(primary_key=True)
    sent_size: Mapped[int]
    told_size: Mapped[int]
    failures: Mapped[int]
    due_at_ms: Mapped[int]
    error: Mapped[str | None]
    received_at_ms: Mapped[int | None]


class SydentTombstone(Base):
    """An ``unbind`` entry that was erased before a peer had it: sealed, and deleted once it has it."""

    __tablename__ = "sydent_tombstones"

    peer: Mapped[str] = mapped_column(primary_key=True)
    commitment: Mapped[bytes] = mapped_column(primary_key=True)
    created_at_ms: Mapped[int] = mapped_column(index=True)
    content: Mapped[bytes]


def known_ids(db: Connection, peer: str, ids: Sequence[int]) -> set[int]:
    """Those of these rows that were taken over before."""
    of_peer = select(SydentRow.row_id).where(SydentRow.peer == peer)
    return {
        row_id
        for some in chunks(list(ids), _PER_STATEMENT)
        for row_id in db.scalars(of_peer.where(SydentRow.row_id.in_(some)))
    }


def newest_ids(db: Connection, peer: str, address_indexes: Iterable[bytes]) -> dict[bytes, int]:
    """The newest row about each of these addresses that was taken over."""
    newest = select(SydentRow.address_index, func.max(SydentRow.row_id)).where(SydentRow.peer == peer)
    newest = newest.group_by(SydentRow.address_index)
    return {
        index: row_id
        for some in chunks(list(address_indexes), _PER_STATEMENT)
        for index, row_id in db.execute(newest.where(SydentRow.address_index.in_(some)))
    }


def take(db: Connection, peer: str, rows: Sequence[tuple[int, bytes]]) -> None:
    """Note rows that were taken over, given with the address they are about; if they were quarantined, they are no more."""
    if not rows:
        return
    db.execute(insert(db, SydentRow), [{"peer": peer, "row_id": row_id, "address_index": index} for row_id, index in rows])
    for some in chunks([row_id for row_id, _ in rows], _PER_STATEMENT):
        db.execute(delete(SydentQuarantined).where(SydentQuarantined.peer == peer, SydentQuarantined.row_id.in_(some)))


def quarantine(db: Connection, rows: Sequence[dict[str, object]]) -> None:
    """Put rows aside, each in place of what was put aside under its id before."""
    if rows:
        statement = insert(db, SydentQuarantined)
        changed = {name: statement.excluded[name] for name in ("received_at_ms", "reason", "content")}
        db.execute(statement.on_conflict_do_update(index_elements=["peer", "row_id"], set_=changed), list(rows))


def quarantined(db: Connection, peer: str, limit: int) -> list[Row[Any]]:
    """Rows of a peer that were put aside, the newest first."""
    statement = select(*SydentQuarantined.__table__.columns).where(SydentQuarantined.peer == peer)
    return list(db.execute(statement.order_by(SydentQuarantined.row_id.desc()).limit(limit)))


def count_quarantined(db: Connection, peer: str) -> int:
    """How many rows of a peer were put aside."""
    return db.execute(select(func.count()).where(SydentQuarantined.peer == peer)).scalar_one()


def begin(db: Connection, name: str) -> None:
    """Begin to note how far a peer is, if nothing is noted yet."""
    empty = {"sent_size": 0, "told_size": 0, "failures": 0, "due_at_ms": 0}
    db.execute(insert(db, SydentState).values(name=name, **empty).on_conflict_do_nothing())


def state(db: Connection, name: str) -> Row[Any] | None:
    """How far a peer is."""
    return db.execute(select(*SydentState.__table__.columns).where(SydentState.name == name)).one_or_none()


def locked(db: Connection, name: str) -> Row[Any]:
    """How far a peer is, and stays until this transaction ends."""
    begin(db, name)
    return db.execute(select(*SydentState.__table__.columns).where(SydentState.name == name).with_for_update()).one()


def note(db: Connection, name: str, **values: object) -> None:
    """Change what is noted of a peer."""
    db.execute(update(SydentState).where(SydentState.name == name).values(**values))


def tell(db: Connection, name: str, *, old_size: int, size: int) -> bool:
    """Note that a peer is about to hear of more entries: whether it has ``old_size``."""
    where = SydentState.name == name, SydentState.sent_size == old_size
    return db.execute(update(SydentState).where(*where).values(told_size=size)).rowcount == 1


def advance(db: Connection, name: str, *, old_size: int, size: int) -> bool:
    """Note that a peer has more entries: whether it had ``old_size``."""
    where = SydentState.name == name, SydentState.sent_size == old_size
    done = {"sent_size": size, "failures": 0, "due_at_ms": 0, "error": None}
    return db.execute(update(SydentState).where(*where).values(**done)).rowcount == 1


def keep_tombstone(db: Connection, peer: str, commitment: bytes, content: bytes, now_ms: int) -> None:
    """Keep what an erased entry has to tell a peer."""
    values = {"peer": peer, "commitment": commitment, "created_at_ms": now_ms, "content": content}
    db.execute(insert(db, SydentTombstone).values(**values).on_conflict_do_nothing())


def tombstones(db: Connection, peer: str, commitments: Sequence[bytes]) -> dict[bytes, bytes]:
    """What these entries have to tell a peer, of those that were erased too early."""
    where = SydentTombstone.peer == peer, SydentTombstone.commitment.in_(list(commitments))
    return {row.commitment: row.content for row in db.execute(select(*SydentTombstone.__table__.columns).where(*where))}


def forget_tombstones(db: Connection, peer: str, commitments: Sequence[bytes]) -> None:
    """Forget what a peer was told."""
    where = SydentTombstone.peer == peer, SydentTombstone.commitment.in_(list(commitments))
    db.execute(delete(SydentTombstone).where(*where))


def expire_tombstones(db: Connection, before_ms: int) -> list[str]:
    """Forget what was kept before a time: the peer of each."""
    old = delete(SydentTombstone).where(SydentTombstone.created_at_ms < before_ms)
    return list(db.execute(old.returning(SydentTombstone.peer)).scalars())


def forget_received(db: Connection, peers: Sequence[str]) -> None:
    """Forget what came from all but these peers."""
    for table in (SydentRow, SydentQuarantined):
        db.execute(delete(table).where(table.peer.not_in(list(peers))))


def forget_sent(db: Connection, peers: Sequence[str]) -> None:
    """Forget what all but these peers have, or have still to be told."""
    db.execute(delete(SydentTombstone).where(SydentTombstone.peer.not_in(list(peers))))
    others = update(SydentState).where(SydentState.name.not_in(list(peers)))
    db.execute(others.values(sent_size=0, told_size=0, failures=0, due_at_ms=0, error=None))
