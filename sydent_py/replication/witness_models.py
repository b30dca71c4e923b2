"""What this server has cosigned last of each peer's log."""

from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, insert

SOUND = "sound"
DOUBTED = "doubted"
DISPUTED = "disputed"


class Witnessed(Base):
    """The newest checkpoint of a log that was cosigned: a note with the log's signature alone, and the cosignature's line.

    ``standing``: a log that contradicted itself is ``disputed`` and never cosigned again; ``doubted`` is one that an operator has had
    followed anew after it was stopped, until it is found to continue what is here.
    """

    __tablename__ = "witnessed"

    origin: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int]
    root: Mapped[bytes]
    checkpoint: Mapped[bytes]
    cosignature: Mapped[str]
    cosigned_at_s: Mapped[int]
    standing: Mapped[str]


def last(db: Connection, origin: str) -> Row[Any] | None:
    """What was cosigned last of a log."""
    return db.execute(select(*Witnessed.__table__.columns).where(Witnessed.origin == origin)).one_or_none()


def every(db: Connection) -> list[Row[Any]]:
    """What was cosigned last of each log."""
    return list(db.execute(select(*Witnessed.__table__.columns).order_by(Witnessed.origin)))


def replace(db: Connection, origin: str, before: Row[Any] | None, **values: object) -> bool:
    """Put a checkpoint in place of ``before``: whether that is still what was cosigned last."""
    if before is None:
        statement = insert(db, Witnessed).values(origin=origin, **values).on_conflict_do_nothing()
        return db.execute(statement.returning(Witnessed.origin)).one_or_none() is not None
    where = Witnessed.origin == origin, Witnessed.size == before.size, Witnessed.root == before.root
    statement = update(Witnessed).where(*where, Witnessed.standing != DISPUTED)
    return db.execute(statement.values(**values)).rowcount == 1


def doubt(db: Connection, origin: str) -> None:
    """Note that an operator follows the log whatever was cosigned of it."""
    where = Witnessed.origin == origin, Witnessed.standing == SOUND
    db.execute(update(Witnessed).where(*where).values(standing=DOUBTED))


def dispute(db: Connection, origin: str) -> None:
    """Note that the log contradicted itself."""
    db.execute(update(Witnessed).where(Witnessed.origin == origin).values(standing=DISPUTED))
