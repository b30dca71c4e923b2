"""Addresses that origins give to different users."""

from dataclasses import dataclass
from itertools import groupby

from sydent_py.bindings import models
from sydent_py.bindings.register import AddressRegister
from sydent_py.database import Database
from sydent_py.identifiers import ThreePid


@dataclass(frozen=True, slots=True)
class Vouched:
    """What one origin says of an address, and whether lookups answer it; ``ts`` in ms since the epoch."""

    origin: str
    user_id: str
    ts: int
    is_answered: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """An address, and what each origin says of it, oldest first."""

    threepid: ThreePid
    claims: tuple[Vouched, ...]


@dataclass(frozen=True)
class Conflicts:
    """Finds them among the bindings that are valid now."""

    database: Database
    register: AddressRegister

    def __call__(self, limit: int) -> list[Conflict]:
        """So many of them."""
        with self.database.autocommit() as db:
            rows = models.conflicts(db, self.register.clock.now_ms(), limit)
            winners = self.register.winners(db, {row.address_index for row in rows})
        found = []
        for index, of_address in groupby(rows, key=lambda row: row.address_index):
            claims = list(of_address)
            winner = winners[index].origin if index in winners else None
            vouched = tuple(Vouched(row.origin, row.user_id, row.ts, row.origin == winner) for row in claims)
            found.append(Conflict(self.register.threepid(claims[0]), vouched))
        return found

    def counts(self) -> dict[str, int]:
        """How many addresses each origin gives to another user than some other origin does. It looks at every binding."""
        with self.database.autocommit() as db:
            return models.conflict_counts(db, self.register.clock.now_ms())
