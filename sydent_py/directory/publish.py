"""What lookups answer from: the newest valid binding of every address."""

from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py import database
from sydent_py.directory import models
from sydent_py.directory.peppers import Peppers
from sydent_py.identifiers import ThreePid, UserId


@dataclass(frozen=True)
class Directory:
    """Reads and writes the lookup table, in the transaction that changes a binding."""

    peppers: Peppers

    def lock(self, db: Connection, threepid: ThreePid) -> None:
        """Until this transaction ends, no other that takes the lock changes whose ``threepid`` is, or who is invited by it."""
        database.lock(db, self.peppers.sealer.index("directory.lock", threepid.medium, threepid.address))

    def find(self, db: Connection, threepid: ThreePid) -> str | None:
        """Whose ``threepid`` is."""
        generation, key = self.peppers.keys(db, threepid)[0]
        return models.find(db, generation, [key]).get(key)

    def publish(self, db: Connection, threepid: ThreePid, user_id: UserId) -> None:
        """From the commit on, lookups of ``threepid`` answer ``user_id``."""
        models.put(db, self.peppers.keys(db, threepid), str(user_id))

    def withdraw(self, db: Connection, threepid: ThreePid) -> None:
        """From the commit on, lookups of ``threepid`` answer nothing."""
        models.remove(db, self.peppers.keys(db, threepid))
