"""The lookup table, its peppers, and the daily budget of looked-up hashes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, LargeBinary, RowMapping, delete, select, text
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import BIG_ID, Base, chunks, insert
from sydent_py.sealing import INDEX_BYTES

# One statement's worth of keys: far below SQLite's limit of variables, and few enough statement texts to stay prepared.
_KEYS_PER_STATEMENT = 1000
_HEX_KEY = 2 * INDEX_BYTES


class Pepper(Base):
    """A pepper and the generation of lookup rows made with it.

    ``retired_at_ms`` is when clients were first told another one; until its rows are deleted it still answers.
    ``key_check`` is the lookup key of the pepper itself: it differs when the sealing key is not the one the rows were made with.
    """

    __tablename__ = "peppers"

    generation: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=False)
    pepper: Mapped[str] = mapped_column(unique=True)
    key_check: Mapped[bytes]
    created_at_ms: Mapped[int]
    retired_at_ms: Mapped[int | None]


class Entry(Base):
    """One answer: everything a lookup needs, found by primary key without touching the bindings."""

    __tablename__ = "directory"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy reads it from the class

    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[bytes] = mapped_column(LargeBinary(INDEX_BYTES), primary_key=True)
    user_id: Mapped[str]


class LookupBudget(Base):
    """How many hashes an account or a homeserver, known by its keyed index, has looked up on ``day`` since the epoch."""

    __tablename__ = "lookup_budgets"

    subject: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[int]
    used: Mapped[int]


def peppers(db: Connection) -> Sequence[RowMapping]:
    """Every pepper that still answers, newest first."""
    statement = select(Pepper.generation, Pepper.pepper, Pepper.key_check)
    return db.execute(statement.order_by(Pepper.generation.desc())).mappings().all()


def add_first_pepper(db: Connection, pepper: str, key_check: bytes, now_ms: int) -> None:
    """Store the first pepper, unless another process was faster."""
    values = {"generation": 1, "pepper": pepper, "key_check": key_check, "created_at_ms": now_ms}
    db.execute(insert(db, Pepper).values(values).on_conflict_do_nothing())


def put(db: Connection, answers: Sequence[tuple[tuple[int, bytes], str]]) -> None:
    """Answer a user ID under each (generation, key)."""
    if answers:
        statement = insert(db, Entry)
        newer = statement.on_conflict_do_update(
            index_elements=["generation", "key"], set_={"user_id": statement.excluded.user_id}
        )
        rows = [{"generation": generation, "key": key, "user_id": user_id} for (generation, key), user_id in answers]
        db.execute(newer, rows)


def remove(db: Connection, places: Sequence[tuple[int, bytes]]) -> None:
    """Answer nothing any more under every (generation, key)."""
    for generation in {generation for generation, _ in places}:
        keys = [key for each, key in places if each == generation]
        for some in chunks(keys, _KEYS_PER_STATEMENT):
            db.execute(delete(Entry).where(Entry.generation == generation, Entry.key.in_(some)))


def find(db: Connection, generation: int, keys: list[bytes]) -> dict[bytes, str]:
    """The user IDs under those of ``keys`` that have one.

    Statements as text: rendering thousands of bound parameters would cost more than the index probes they are for.
    """
    if db.dialect.name == "sqlite":
        return {
            key: user_id
            for chunk in chunks(keys, _KEYS_PER_STATEMENT)
            for key, user_id in _find_sqlite(db, generation, chunk)
        }
    return dict(_fetch(db, "SELECT key, user_id FROM directory WHERE generation = %s AND key = ANY(%b)", (generation, keys)))


def _find_sqlite(db: Connection, generation: int, keys: list[bytes]) -> Iterator[tuple[bytes, str]]:
    """All answers in one row: the driver gives the interpreter up and takes it back for every row it fetches, and threads
    that look up at once would spend half of their time on that. A user ID has no line ends.
    """
    marks = ",".join("?" * len(keys))
    sql = f"SELECT group_concat(hex(key) || user_id, char(10)) FROM directory WHERE generation = ? AND key IN ({marks})"  # noqa: S608 - question marks
    [(found,)] = _fetch(db, sql, (generation, *keys))
    for line in found.split("\n") if found else ():
        yield bytes.fromhex(line[:_HEX_KEY]), line[_HEX_KEY:]


def _fetch(db: Connection, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
    cursor = db.exec_driver_sql(sql, parameters).cursor
    assert cursor is not None
    return list(cursor.fetchall())


@dataclass(frozen=True)
class Allowance:
    """How many hashes a day a subject may look up."""

    subject: str
    limit: int


# The check and the charge are one statement, so that a refused request charges nobody: an account that is out of budget
# cannot use up its homeserver's. What the check cannot see yet, a request at the same moment, the update does.
_SPEND = text("""
    INSERT INTO lookup_budgets (subject, day, used)
    SELECT subject, :day, :amount
    FROM (SELECT CAST(:account AS TEXT) AS subject UNION ALL SELECT CAST(:homeserver AS TEXT)) AS subjects
    WHERE NOT EXISTS (
        SELECT 1 FROM lookup_budgets AS spent
        WHERE spent.day = :day AND (
            (spent.subject = :account AND spent.used > :account_limit - :amount)
            OR (spent.subject = :homeserver AND spent.used > :homeserver_limit - :amount)
        )
    )
    ON CONFLICT (subject) DO UPDATE SET
        used = excluded.used + CASE WHEN lookup_budgets.day = excluded.day THEN lookup_budgets.used ELSE 0 END,
        day = excluded.day
    WHERE lookup_budgets.day <> excluded.day OR lookup_budgets.used + excluded.used <= CASE lookup_budgets.subject
        WHEN :account THEN :account_limit ELSE :homeserver_limit END
""")


def spend(db: Connection, account: Allowance, homeserver: Allowance, day: int, amount: int) -> bool:
    """Charge ``amount`` hashes of ``day`` to both: whether both could afford it.

    A refused request charges neither, but for one that loses a race at the very limit, which may charge one of them.
    """
    if amount > min(account.limit, homeserver.limit):
        return False
    parameters = {
        "account": account.subject,
        "account_limit": account.limit,
        "homeserver": homeserver.subject,
        "homeserver_limit": homeserver.limit,
        "day": day,
        "amount": amount,
    }
    return db.execute(_SPEND, parameters).rowcount == len((account, homeserver))


def forget_budgets_before(db: Connection, day: int) -> None:
    """Delete the counters of earlier days."""
    db.execute(delete(LookupBudget).where(LookupBudget.day < day))
