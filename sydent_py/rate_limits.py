"""The budgets: how often something may happen, counted in storage that every process shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem, parse_many
from limits.errors import ConfigurationError as StorageConfigurationError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import Connection, case, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.clock import Clock
from sydent_py.database import Base, Database, insert
from sydent_py.errors import LimitExceeded
from sydent_py.sealing import Sealer
from sydent_py.settings import ConfigurationError, Limits


class Counter(Base):
    """A window that is open until ``expires_at_ms``, and how much was used in it."""

    __tablename__ = "rate_limits"

    key: Mapped[str] = mapped_column(primary_key=True)
    used: Mapped[int]
    expires_at_ms: Mapped[int]


class DatabaseStorage(Storage):
    """Counters in the server's own database, one statement a hit, for the ``limits`` library."""

    STORAGE_SCHEME = None

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__()
        self._database = database
        self._clock = clock

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the library may wrap."""
        return SQLAlchemyError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to the window of ``key``, or begin a new one of ``expiry`` seconds; what it holds now."""
        now_ms = self._clock.now_ms()
        with self._database.autocommit() as db:
            fresh = insert(db, Counter).values(key=key, used=amount, expires_at_ms=now_ms + expiry * 1000)
            over = Counter.expires_at_ms <= now_ms
            statement = fresh.on_conflict_do_update(
                index_elements=["key"],
                set_={
                    "used": case((over, fresh.excluded.used), else_=Counter.used + fresh.excluded.used),
                    "expires_at_ms": case((over, fresh.excluded.expires_at_ms), else_=Counter.expires_at_ms),
                },
            )
            return int(db.execute(statement.returning(Counter.used)).scalar_one())

    def get(self, key: str) -> int:
        """What the open window of ``key`` holds."""
        with self._database.autocommit() as db:
            statement = select(Counter.used).where(Counter.key == key, Counter.expires_at_ms > self._clock.now_ms())
            return int(db.execute(statement).scalar() or 0)

    def get_expiry(self, key: str) -> float:
        """When the window of ``key`` closes, in seconds since the epoch."""
        with self._database.autocommit() as db:
            expires_at_ms = db.execute(select(Counter.expires_at_ms).where(Counter.key == key)).scalar()
        return float(expires_at_ms or self._clock.now_ms()) / 1000

    def check(self) -> bool:
        """Whether the storage answers."""
        with self._database.autocommit() as db:
            db.execute(select(Counter.key).limit(1))
        return True

    def reset(self) -> int:
        """Forget every counter."""
        with self._database.autocommit() as db:
            return db.execute(delete(Counter)).rowcount

    def clear(self, key: str) -> None:
        """Forget the counter of ``key``."""
        with self._database.autocommit() as db:
            db.execute(delete(Counter).where(Counter.key == key))


def forget_expired(db: Connection, now_ms: int) -> None:
    """Delete the windows that have closed."""
    db.execute(delete(Counter).where(Counter.expires_at_ms <= now_ms))


@dataclass(frozen=True)
class Left:
    """How much of a rate is left, and when its window closes, in ms since the epoch."""

    rate: str
    left: int
    resets_at_ms: int


@dataclass(frozen=True)
class RateLimits:
    """Spends budgets by name. What is counted is a keyed hash of the subject, never an address."""

    storage: Storage
    sealer: Sealer
    clock: Clock
    budgets: Mapping[str, tuple[RateLimitItem, ...]]
    enabled: bool

    def spend(self, budget: str, subject: str = "", amount: int = 1) -> None:
        """Count ``amount`` more of ``budget`` for ``subject``; ``LimitExceeded`` when that is more than is left of any of its rates."""
        if not self.enabled:
            return
        limiter = FixedWindowRateLimiter(self.storage)
        key = self.sealer.index("rate_limits.key", budget, subject).hex()
        for rate in self.budgets[budget]:
            if not limiter.hit(rate, budget, key, cost=amount):
                closes_at_s = limiter.get_window_stats(rate, budget, key).reset_time
                raise LimitExceeded(int(closes_at_s * 1000) - self.clock.now_ms())

    def require(self, budget: str, subject: str = "") -> None:
        """``LimitExceeded`` when ``spend`` would be refused now. Nothing is counted."""
        if not self.enabled:
            return
        used_up = [left.resets_at_ms for left in self.left(budget, subject) if left.left < 1]
        if used_up:
            raise LimitExceeded(max(used_up) - self.clock.now_ms())

    def left(self, budget: str, subject: str = "") -> list[Left]:
        """What may still be spent of ``budget`` for ``subject``, by each of its rates."""
        limiter = FixedWindowRateLimiter(self.storage)
        key = self.sealer.index("rate_limits.key", budget, subject).hex()
        stats = [(rate, limiter.get_window_stats(rate, budget, key)) for rate in self.budgets[budget]]
        return [Left(str(rate), window.remaining, int(window.reset_time * 1000)) for rate, window in stats]


def build(settings: Limits, database: Database, sealer: Sealer, clock: Clock) -> RateLimits:
    """The budgets of the configuration, on the storage it names."""
    names = [name for name in Limits.model_fields if not name.startswith(("enabled", "storage_url", "lookup_"))]
    budgets: dict[str, Any] = {name: _rates(getattr(settings, name)) for name in names}
    return RateLimits(_storage(settings.storage_url, database, clock), sealer, clock, budgets, settings.enabled)


def _rates(value: str | int) -> tuple[RateLimitItem, ...]:
    """The rates that ``value`` says; a number is so many a day."""
    return tuple(parse_many(f"{value}/day" if isinstance(value, int) else value))


def _storage(url: str, database: Database, clock: Clock) -> Storage:
    if not url:
        return DatabaseStorage(database, clock)
    try:
        storage = storage_from_string(url, wrap_exceptions=True)
    except StorageConfigurationError as error:
        scheme = url.partition(":")[0]
        raise ConfigurationError(f"limits.storage_url: install sydent-py[{scheme}] to use this storage") from error
    assert isinstance(storage, Storage)
    return storage
