"""Looking up Matrix user IDs by hashed 3PIDs (Identity Service API, "Association lookup")."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py.clock import DAY_MS, Clock
from sydent_py.database import Database
from sydent_py.directory import models
from sydent_py.directory.peppers import Peppers, lookup_hash
from sydent_py.errors import InvalidParam, InvalidPepper, LimitExceeded, TooLarge
from sydent_py.identifiers import UserId
from sydent_py.sealing import Sealer
from sydent_py.settings import Settings


@dataclass(frozen=True)
class LookupBudgets:
    """Hashes a day; ``enabled`` false lifts both limits."""

    enabled: bool
    per_account: int
    per_homeserver: int


@dataclass(frozen=True)
class HashDetails:
    """Tells clients how to hash."""

    peppers: Peppers
    algorithms: tuple[str, ...]

    def __call__(self) -> tuple[str, tuple[str, ...]]:
        """The current pepper, and the algorithms that lookups take."""
        return self.peppers.current(), self.algorithms


@dataclass(frozen=True)
class Lookup:
    """Answers lookups."""

    database: Database
    peppers: Peppers
    sealer: Sealer
    clock: Clock
    algorithms: tuple[str, ...]
    max_addresses: int
    budgets: LookupBudgets

    def __call__(self, account: UserId, algorithm: str, pepper: str, addresses: Sequence[str]) -> dict[str, str]:
        """The user ID of every address that has one, by the address as the client wrote it.

        Raises ``InvalidParam`` (algorithm), ``InvalidPepper``, ``TooLarge`` and ``LimitExceeded``.
        """
        if algorithm not in self.algorithms:
            raise InvalidParam(f"This server looks up by {' or '.join(self.algorithms)} alone.")
        if len(addresses) > self.max_addresses:
            raise TooLarge(f"A lookup takes at most {self.max_addresses} addresses.")
        generation = self._generation(algorithm, pepper)
        hashes = [lookup_hash(query, pepper) for query in addresses] if algorithm == "none" else addresses
        keys = self.sealer.lookup_keys(hashes)
        if not keys:
            return {}
        with self.database.autocommit() as db:
            self._charge(db, account, len(keys))
            found = models.find(db, generation, keys)
        return {address: found[key] for address, key in zip(addresses, keys, strict=True) if key in found} if found else {}

    def charge(self, account: UserId, amount: int) -> None:
        """Charge ``amount`` looked-up addresses to the budgets of the account and its homeserver; ``LimitExceeded``."""
        with self.database.autocommit() as db:
            self._charge(db, account, amount)

    def forget_expired(self, db: Connection) -> None:
        """Delete the budgets of days that are over."""
        models.forget_budgets_before(db, self.clock.now_ms() // DAY_MS)

    def _generation(self, algorithm: str, pepper: str) -> int:
        try:
            return self.peppers.generation(pepper)
        except InvalidPepper:
            raise InvalidPepper(algorithm=algorithm, lookup_pepper=self.peppers.current()) from None

    def _charge(self, db: Connection, account: UserId, amount: int) -> None:
        if not self.budgets.enabled:
            return
        now_ms = self.clock.now_ms()
        by_account = models.Allowance(self._subject(str(account)), self.budgets.per_account)
        # The host alone: its owner serves every port of it, in every spelling.
        by_homeserver = models.Allowance(self._subject(account.server.host.lower()), self.budgets.per_homeserver)
        if not models.spend(db, by_account, by_homeserver, now_ms // DAY_MS, amount):
            raise LimitExceeded(
                DAY_MS - now_ms % DAY_MS, "Too many addresses were looked up today. Please try again tomorrow."
            )

    def _subject(self, name: str) -> str:
        """How a budget is kept: it outlives an account that is erased, and must not name it."""
        return self.sealer.index("lookup_budgets.subject", name).hex()


def build(settings: Settings, database: Database, peppers: Peppers, sealer: Sealer, clock: Clock) -> Lookup:
    """Lookups, as the configuration has them."""
    limits = settings.limits
    return Lookup(
        database=database,
        peppers=peppers,
        sealer=sealer,
        clock=clock,
        algorithms=settings.lookup.algorithms,
        max_addresses=settings.lookup.max_addresses,
        budgets=LookupBudgets(limits.enabled, limits.lookup_hashes_per_account, limits.lookup_hashes_per_homeserver),
    )
