"""The lease that makes one process of those sharing a database its background worker."""

from abc import ABC, abstractmethod
from contextlib import suppress

from sqlalchemy import Connection, NullPool, create_engine, delete, func, or_, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py import tokens
from sydent_py.clock import Clock
from sydent_py.database import Base, Database, insert

# How long a lease is good for after it was last taken or renewed. Its holder asks every second.
LIFETIME_MS = 5_000
NAME = "worker"
# Advisory locks belong to one database. Those with two keys are apart from all that have one.
WORKER_LOCK = (0x73796465, 1)


class Lease(ABC):
    """Held by at most one process at a time.

    It saves work and keeps order, and correctness does not rest on it: a job under way when the lease is lost overlaps for a
    moment with the next holder's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._expires_at_ms = 0

    def hold(self) -> bool:
        """Take the lease or renew it: whether it is ours. Raises ``SQLAlchemyError`` when the database cannot be asked."""
        # From before the database is asked, and perhaps waited for: so it ends early here, and never late.
        expires_at_ms = self._clock.now_ms() + LIFETIME_MS
        self._expires_at_ms = expires_at_ms if self._take(expires_at_ms) else 0
        return self.is_held()

    def is_held(self) -> bool:
        """Whether it was ours when last asked for, and has not run out since. Asks nobody."""
        # An end that is further away than a lifetime says nothing: the clock was set back.
        return 0 < self._expires_at_ms - self._clock.now_ms() <= LIFETIME_MS

    def release(self) -> None:
        """Give the lease back, so that another takes it at once; where that fails, it runs out by itself."""
        self._expires_at_ms = 0
        with suppress(SQLAlchemyError):
            self._give_back()

    @abstractmethod
    def _take(self, expires_at_ms: int) -> bool:
        """Take the lease or renew it, until ``expires_at_ms``: whether it is ours."""

    @abstractmethod
    def _give_back(self) -> None:
        """Let others have it where it is ours."""


class Row(Base):
    """Who holds a lease on SQLite, and until when."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    expires_at_ms: Mapped[int]


class SqliteLease(Lease):
    """A row, taken and renewed by compare-and-swap."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(clock)
        self._database = database
        self._holder = tokens.new_sid()

    def _take(self, expires_at_ms: int) -> bool:
        now_ms = expires_at_ms - LIFETIME_MS
        # It comes every second, and so without a wait for the disk: nobody holds a lease after a power cut.
        with self._database.autocommit() as db:
            ours = insert(db, Row).values(name=NAME, holder=self._holder, expires_at_ms=expires_at_ms)
            # An end that is further away than a lifetime is from before the clock was set back.
            over = or_(Row.expires_at_ms <= now_ms, Row.expires_at_ms > expires_at_ms)
            statement = ours.on_conflict_do_update(
                index_elements=["name"],
                set_={"holder": ours.excluded.holder, "expires_at_ms": ours.excluded.expires_at_ms},
                where=or_(Row.holder == self._holder, over),
            )
            return db.execute(statement.returning(Row.holder)).scalar() is not None

    def _give_back(self) -> None:
        with self._database.autocommit() as db:
            db.execute(delete(Row).where(Row.name == NAME, Row.holder == self._holder))


class PostgresqlLease(Lease):
    """An advisory lock of a session that is ours alone: freed when the session ends, however it ends."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(clock)
        # What a server that vanished without a word is noticed by.
        tcp = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3, "tcp_user_timeout": LIFETIME_MS}
        self._engine = create_engine(
            database.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args={"connect_timeout": 5, **tcp},
        )
        self._session: Connection | None = None
        self._is_locked = False

    def _take(self, _expires_at_ms: int) -> bool:
        try:
            self._session = self._session or self._connect()
            if self._is_locked:
                self._session.execute(select(1))
            else:
                self._is_locked = bool(self._session.scalar(select(func.pg_try_advisory_lock(*WORKER_LOCK))))
        except SQLAlchemyError:
            self._disconnect()
            raise
        return self._is_locked

    def _give_back(self) -> None:
        try:
            if self._session is not None and self._is_locked:
                # The end of the session frees it, too, but a moment later.
                self._session.execute(select(func.pg_advisory_unlock(*WORKER_LOCK)))
        finally:
            self._disconnect()

    def _connect(self) -> Connection:
        """A session that the server ends when it hears nothing for a lease's lifetime: from a frozen process, a vanished host.

        PostgreSQL before 14 has no such setting; there, TCP decides how long that takes.
        """
        session = self._engine.connect()
        silence = text("SELECT set_config(name, :ms, false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        session.execute(silence, {"ms": str(LIFETIME_MS)})
        return session

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        self._is_locked, self._expires_at_ms = False, 0
        if session is not None:
            session.close()


def build(database: Database, clock: Clock) -> Lease:
    """The lease of this database's background worker."""
    return SqliteLease(database, clock) if database.is_sqlite else PostgresqlLease(database, clock)
