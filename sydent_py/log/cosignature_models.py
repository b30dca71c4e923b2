"""The cosignatures of this server's own log: of each witness the newest."""

from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, insert


class Cosignature(Base):
    """A line that was verified: ``witness`` is whose it is, ``text`` the checkpoint's, ``checkpoint`` the note that the log has signed.

    Where a version kept it that kept no notes, there is none.
    """

    __tablename__ = "log_cosignatures"

    witness: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int]
    text: Mapped[str]
    cosignature: Mapped[str]
    checkpoint: Mapped[str | None]


def put(db: Connection, witness: str, **values: object) -> None:
    """Store a cosignature, in place of the witness's one before."""
    statement = insert(db, Cosignature).values(witness=witness, **values)
    db.execute(statement.on_conflict_do_update(index_elements=["witness"], set_=values))


def size(db: Connection, witness: str) -> int:
    """How many entries the log had when the witness cosigned it last, 0 where it never has."""
    return db.execute(select(Cosignature.size).where(Cosignature.witness == witness)).scalar_one_or_none() or 0


def every(db: Connection) -> list[Row[Any]]:
    """All of them that have a note."""
    return list(db.execute(select(*Cosignature.__table__.columns).where(Cosignature.checkpoint.is_not(None))))


def lines(db: Connection, text: str, limit: int) -> list[str]:
    """The cosignatures of a checkpoint."""
    statement = select(Cosignature.cosignature).where(Cosignature.text == text)
    return list(db.execute(statement.order_by(Cosignature.witness).limit(limit)).scalars())
