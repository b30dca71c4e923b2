"""How far each peer's log is followed, what of it was not taken over, and which of its requests were seen."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, chunks, insert

_PER_STATEMENT = 500


class PeerState(Base):
    """A peer's log as far as it was verified and taken over: ``size`` entries, under the right ``edge`` of their tree.

    ``checkpoint`` is the newest one that was verified, a signed note, and may be ahead of ``size``. ``error`` is what went wrong last, until it goes right.
    At ``whole_at_ms`` the log had no more entries than were taken over.
    A peer that ``is_stopped`` is followed no more until an operator says so; ``evidence`` says why, to others too, and stays on record
    when it is followed on.
    """

    __tablename__ = "peers"

    name: Mapped[str] = mapped_column(primary_key=True)
    log_key: Mapped[str]
    scope: Mapped[str]
    size: Mapped[int]
    edge: Mapped[bytes]
    checkpoint: Mapped[bytes | None]
    checked_at_ms: Mapped[int]
    shrunk_since_ms: Mapped[int | None]
    contradictions: Mapped[int]
    nudged_size: Mapped[int]
    whole_at_ms: Mapped[int | None]
    error: Mapped[str | None]
    failed_at_ms: Mapped[int | None]
    is_stopped: Mapped[bool]
    evidence: Mapped[bytes | None]


class Quarantined(Base):
    """An entry of a peer's log that was not taken over, and why. What it holds is sealed; None where the peer gave nothing."""

    __tablename__ = "quarantine"

    peer: Mapped[str] = mapped_column(primary_key=True)
    entry_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    commitment: Mapped[bytes] = mapped_column(index=True)
    kind: Mapped[str]
    ts: Mapped[int]
    reason: Mapped[str]
    payload: Mapped[bytes | None]


class SpentNonce(Base):
    """A request of a peer that was seen, and need not be remembered any longer than it would be believed."""

    __tablename__ = "peer_nonces"

    peer: Mapped[str] = mapped_column(primary_key=True)
    nonce: Mapped[str] = mapped_column(primary_key=True)
    expires_at_ms: Mapped[int] = mapped_column(index=True)


def begin(db: Connection, name: str, *, log_key: str, scope: str) -> None:
    """Begin to follow a log, within a scope, if it is not followed yet."""
    empty = {"size": 0, "edge": b"", "checked_at_ms": 0, "nudged_size": 0, "contradictions": 0, "is_stopped": False}
    db.execute(insert(db, PeerState).values(name=name, log_key=log_key, scope=scope, **empty).on_conflict_do_nothing())


def state(db: Connection, name: str) -> Row[Any] | None:
    """How far a peer is followed."""
    return db.execute(select(*PeerState.__table__.columns).where(PeerState.name == name)).one_or_none()


def states(db: Connection) -> dict[str, Row[Any]]:
    """How far each peer is followed, by name."""
    return {row.name: row for row in db.execute(select(*PeerState.__table__.columns))}


def note(db: Connection, name: str, **values: object) -> None:
    """Change what is noted of a peer, unless it was stopped meanwhile."""
    db.execute(update(PeerState).where(PeerState.name == name, PeerState.is_stopped.is_(False)).values(**values))


def stop(db: Connection, name: str, *, error: str, evidence: Sequence[bytes], now_ms: int) -> None:
    """Follow a peer no more, and keep the notes that say why beside those on record; unless it was stopped meanwhile."""
    found = state(db, name)
    kept = [found.evidence] if found is not None and found.evidence else []
    kept += [each for each in evidence if each and not any(each in before for before in kept)]
    note(db, name, is_stopped=True, error=error, failed_at_ms=now_ms, evidence=b"\n".join(kept))


def suspend(db: Connection, name: str, error: str) -> None:
    """Follow a peer no more for ``error``, whatever it was stopped for before."""
    db.execute(update(PeerState).where(PeerState.name == name).values(is_stopped=True, error=error))


def resume(db: Connection, name: str, error: str | None) -> bool:
    """Follow a peer again from where it was stopped: whether it was, and for ``error``.

    What makes it suspect stays, and it is asked at once, as if it had said that its log has grown.
    """
    where = PeerState.name == name, PeerState.is_stopped.is_(True), PeerState.error == error
    again = {"is_stopped": False, "error": None, "failed_at_ms": None, "nudged_size": PeerState.size + 1}
    return db.execute(update(PeerState).where(*where).values(**again)).rowcount == 1


def advance(db: Connection, name: str, *, old_size: int, **values: object) -> bool:
    """Move a peer's cursor on: whether it was at ``old_size``, and the peer not stopped."""
    where = PeerState.name == name, PeerState.size == old_size, PeerState.is_stopped.is_(False)
    return db.execute(update(PeerState).where(*where).values(**values)).rowcount == 1


def nudge(db: Connection, name: str, size: int) -> None:
    """Remember that a peer's log has grown to ``size``."""
    db.execute(update(PeerState).where(PeerState.name == name, PeerState.nudged_size < size).values(nudged_size=size))


def forget_nudge(db: Connection, name: str, size: int) -> None:
    """Forget that a peer's log has grown to ``size``, unless it was said since that it has grown further."""
    db.execute(update(PeerState).where(PeerState.name == name, PeerState.nudged_size <= size).values(nudged_size=0))


def forget(db: Connection, name: str) -> None:
    """Forget how far a peer was followed, and what of it was not taken over."""
    db.execute(delete(PeerState).where(PeerState.name == name))
    db.execute(delete(Quarantined).where(Quarantined.peer == name))


def quarantine(db: Connection, entries: Sequence[dict[str, object]]) -> None:
    """Put entries aside."""
    if entries:
        db.execute(insert(db, Quarantined).on_conflict_do_nothing(), list(entries))


def quarantined(db: Connection, name: str, limit: int) -> list[Row[Any]]:
    """Entries of a peer that were put aside, the newest first."""
    statement = select(*Quarantined.__table__.columns).where(Quarantined.peer == name)
    return list(db.execute(statement.order_by(Quarantined.entry_index.desc()).limit(limit)))


def count_quarantined(db: Connection, name: str) -> int:
    """How many entries of a peer were put aside."""
    return db.execute(select(func.count()).where(Quarantined.peer == name)).scalar_one()


def quarantine_counts(db: Connection) -> dict[str, int]:
    """How many entries of each peer were put aside, for those that have any."""
    statement = select(Quarantined.peer, func.count()).group_by(Quarantined.peer)
    return dict(db.execute(statement).all())


def release(db: Connection, name: str, commitments: Sequence[bytes]) -> None:
    """Forget entries that were put aside, because they were erased."""
    for some in chunks(list(commitments), _PER_STATEMENT):
        db.execute(delete(Quarantined).where(Quarantined.peer == name, Quarantined.commitment.in_(some)))


def spend_nonce(db: Connection, peer: str, nonce: str, expires_at_ms: int) -> bool:
    """Remember a request: whether it was not seen before."""
    statement = insert(db, SpentNonce).values(peer=peer, nonce=nonce, expires_at_ms=expires_at_ms)
    return db.execute(statement.on_conflict_do_nothing().returning(SpentNonce.nonce)).one_or_none() is not None


def forget_nonces(db: Connection, now_ms: int) -> None:
    """Forget requests that would not be believed any more."""
    db.execute(delete(SpentNonce).where(SpentNonce.expires_at_ms < now_ms))
