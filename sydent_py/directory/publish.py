"""What lookups answer from: the newest valid binding of every address."""

from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py.directory import models
from sydent_py.directory.peppers import Peppers
from sydent_py.identifiers import ThreePid, UserId


@dataclass(frozen=True)
class Directory:
    """Writes the lookup table, in the transaction that changes a binding."""

    peppers: Peppers

    def publish(self, db: Connection, threepid: ThreePid, user_id: UserId) -> None:
        """From the commit on, lookups of ``threepid`` answer ``user_id``."""
        models.put(db, self.peppers.keys(db, threepid), str(user_id))

    def withdraw(self, db: Connection, threepid: ThreePid) -> None:
        """From the commit on, lookups of ``threepid`` answer nothing."""
        models.remove(db, self.peppers.keys(db, threepid))
