"""What an operator wants to know of text messages: budgets, breakers, conversion."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sydent_py.clock import DAY_MS
from sydent_py.rate_limits import RateLimits
from sydent_py.sms import models
from sydent_py.sms.breakers import State
from sydent_py.sms.traffic import Traffic


@dataclass(frozen=True)
class Country:
    """What was sent to a country in the last 24 hours, and what came of it."""

    country: str
    sent: int
    converted: int
    delivered: int
    undelivered: int

    @property
    def conversion(self) -> float | None:
        """Entered codes by messages."""
        return round(self.converted / self.sent, 3) if self.sent else None


@dataclass(frozen=True)
class Total:
    """What was ever sent to a country, and what came of it."""

    country: str
    sent: int
    converted: int
    undelivered: int


@dataclass(frozen=True)
class Budget:
    """What is left of a budget that all share. ``subject`` is a country, or empty for everything together."""

    budget: str
    subject: str
    rate: str
    left: int
    resets_at_ms: int


@dataclass(frozen=True)
class Report:
    """All of it."""

    provider: str
    budgets: Sequence[Budget]
    breakers: Sequence[State]
    countries: Sequence[Country]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        countries = [{**asdict(country), "conversion": country.conversion} for country in self.countries]
        return {**asdict(self), "countries": countries}


@dataclass(frozen=True)
class Status:
    """Reads what processes have counted together."""

    traffic: Traffic
    rate_limits: RateLimits
    provider: str
    allowed_countries: tuple[str, ...]

    def report(self) -> Report:
        """Now."""
        with self.traffic.database.autocommit() as db:
            breakers = tuple(self.traffic.breakers.states(db))
            rows = models.count_by_country(db, self.traffic.clock.now_ms() - DAY_MS)
        budgets = self.budgets("sms_overall", "")
        for country in self.allowed_countries:
            budgets += self.budgets("sms_per_country", country)
        return Report(self.provider, budgets, breakers, [Country(**row) for row in rows])

    def totals(self) -> list[Total]:
        """Since the beginning, by country."""
        with self.traffic.database.autocommit() as db:
            return [Total(row.country, row.sent, row.converted, row.undelivered) for row in models.totals(db)]

    def breakers(self) -> list[State]:
        """Every breaker that is not closed."""
        with self.traffic.database.autocommit() as db:
            return list(self.traffic.breakers.states(db))

    def budgets(self, budget: str, subject: str) -> list[Budget]:
        """What is left of ``budget`` for ``subject``, by each of its rates."""
        return [
            Budget(budget, subject, rest.rate, rest.left, rest.resets_at_ms)
            for rest in self.rate_limits.left(budget, subject)
        ]
