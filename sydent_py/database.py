"""The declarative base, and the one way to talk to the database."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    cast,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase

# How long a statement waits for a lock, and how long it may run, before it fails instead of hanging.
LOCK_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 30_000

# Enough for the inner pages of the lookup table's tree. Its leaves are in the system's page cache, which all processes share.
SQLITE_CACHE_KIB = 1024

BIG_ID = BigInteger().with_variant(Integer, "sqlite")


class Bytes(LargeBinary):
    """Bytes as they are: both drivers take them, and wrapping each costs as much as hashing it."""

    def bind_processor(self, dialect: Any) -> None:
        """Nothing is done to a value."""


class Base(DeclarativeBase):
    """The base of every table; ``models.py`` of a feature holds its tables and every query on them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, str: Text, bytes: Bytes}  # noqa: RUF012 - SQLAlchemy reads it from the class


class Database:
    """Two pools on one database.

    ``begin()`` is a unit of work: all or nothing, and on disk when it returns. ``autocommit()`` is for reads and counters:
    each statement stands alone, and a counter may lose its last increments in a power cut.
    """

    def __init__(self, url: str, pool_size: int = 8) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._units = _sqlite_engine(url, pool_size, synchronous="FULL")
            self._statements = _sqlite_engine(url, pool_size, synchronous="NORMAL", isolation_level="AUTOCOMMIT")
            event.listen(self._units, "begin", _begin_immediate)
        else:
            self._units = _postgresql_engine(url, pool_size, synchronous_commit="on", pool_pre_ping=True)
            self._statements = _postgresql_engine(
                url, pool_size, synchronous_commit="off", isolation_level="AUTOCOMMIT", pool_reset_on_return=None
            )

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction that commits at the end of the block and rolls back on any exception.

        On SQLite it takes the write lock at once (``BEGIN IMMEDIATE``): what it read cannot change before it writes.
        """
        return self._units.begin()

    def autocommit(self) -> AbstractContextManager[Connection]:
        """A connection on which every statement is its own transaction."""
        return self._statements.connect()

    def forget_deleted(self) -> None:
        """Empty SQLite's write-ahead log, in which deleted rows live on; not while somebody reads for long.

        In the file itself, deleted rows are overwritten. PostgreSQL sees to its own, in its own time.
        """
        if self.is_sqlite:
            with self.autocommit() as db:
                db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every pooled connection."""
        self._units.dispose()
        self._statements.dispose()


def _sqlite_engine(url: str, pool_size: int, *, synchronous: str, **options: Any) -> Engine:
    # The connection used last is used next: its cache is warm, and those that are not needed stay small.
    engine = create_engine(url, pool_size=pool_size, max_overflow=0, pool_use_lifo=True, hide_parameters=True, **options)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver must not begin transactions of its own: see _begin_immediate.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")
        connection.execute(f"PRAGMA cache_size = -{SQLITE_CACHE_KIB}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        # What a transaction changes stays in memory until it commits, rather than be written, read and written again.
        connection.execute("PRAGMA cache_spill = OFF")
        # What is deleted or erased is overwritten with zeros, and not left in the file.
        connection.execute("PRAGMA secure_delete = ON")

    return engine


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgresql_engine(url: str, pool_size: int, *, synchronous_commit: str, **options: Any) -> Engine:
    settings = {
        "synchronous_commit": synchronous_commit,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "statement_timeout": STATEMENT_TIMEOUT_MS,
    }
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={"options": " ".join(f"-c {name}={value}" for name, value in settings.items()), "connect_timeout": 10},
        **options,
    )


def insert(db: Connection, table: Any) -> Any:
    """An INSERT of this database's dialect, because only those know ``ON CONFLICT``."""
    return sqlite.insert(table) if db.dialect.name == "sqlite" else postgresql.insert(table)


def chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    """``items`` in slices of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


def lock(db: Connection, keys: Iterable[bytes]) -> None:
    """Make other transactions that lock any of ``keys`` wait for the end of this one.

    Everybody locks in one order, so that no two transactions wait for each other. SQLite's writers wait anyway; row locks
    would not hold where there is no row yet.
    """
    if db.dialect.name != "postgresql":
        return
    if numbers := sorted(int.from_bytes(key[:8], "big", signed=True) for key in keys):
        wanted = func.unnest(cast(numbers, postgresql.ARRAY(BigInteger))).column_valued()
        db.execute(select(func.count(func.pg_advisory_xact_lock(wanted))))
