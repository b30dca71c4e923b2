"""Entries that wait for their place in the log."""

from sqlalchemy import Connection
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import BIG_ID, Base, insert


class PendingEntry(Base):
    """A fact that is vouched for and not yet sequenced. Payload and nonce are sealed: together they name the address."""

    __tablename__ = "log_pending"

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    kind: Mapped[str]
    ts: Mapped[int]
    nonce: Mapped[bytes]
    payload: Mapped[bytes]


def add(db: Connection, *, kind: str, ts: int, nonce: bytes, payload: bytes) -> None:
    """Queue one entry behind all others."""
    db.execute(insert(db, PendingEntry).values(kind=kind, ts=ts, nonce=nonce, payload=payload))
