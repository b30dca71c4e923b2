"""What lookups answer from: the newest valid binding of every address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py import database
from sydent_py.directory import models
from sydent_py.directory.peppers import Peppers
from sydent_py.identifiers import ThreePid


@dataclass(frozen=True)
class Directory:
    """Reads and writes the lookup table, in the transaction that changes a binding."""

    peppers: Peppers

    def lock(self, db: Connection, *threepids: ThreePid) -> None:
        """Until this transaction ends, no other that takes the lock changes whose ``threepids`` are, or who is invited by them.

        Several are locked in one order, so that no two transactions wait for each other.
        """
        index = self.peppers.sealer.index
        database.lock(db, (index("directory.lock", threepid.medium, threepid.address) for threepid in threepids))

    def find(self, db: Connection, threepid: ThreePid) -> str | None:
        """Whose ``threepid`` is."""
        [[(generation, key), *_]] = self.peppers.keys(db, [threepid])
        return models.find(db, generation, [key]).get(key)

    def find_all(self, db: Connection, threepids: Sequence[ThreePid]) -> dict[ThreePid, str]:
        """Whose each of ``threepids`` is, of those that are anybody's."""
        # The first place of each address is under the newest pepper.
        places = [each[0] for each in self.peppers.keys(db, threepids)]
        found = models.find(db, places[0][0], [key for _, key in places]) if places else {}
        return {threepid: found[key] for threepid, (_, key) in zip(threepids, places, strict=True) if key in found}

    def publish(self, db: Connection, users: Mapping[ThreePid, str | None]) -> None:
        """From the commit on, lookups of these addresses answer these user IDs, or nothing."""
        keys = self.peppers.keys(db, list(users))
        found = list(zip(keys, users.values(), strict=True))
        models.put(db, [(place, user_id) for places, user_id in found if user_id is not None for place in places])
        models.remove(db, [place for places, user_id in found if user_id is None for place in places])
