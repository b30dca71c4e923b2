"""Looking up addresses in clear, for homeservers that may."""

from collections.abc import Sequence
from dataclasses import dataclass

from sydent_py.database import Database
from sydent_py.directory.publish import Directory
from sydent_py.errors import Forbidden
from sydent_py.homeserver_settings import TrustedHomeserver
from sydent_py.identifiers import ThreePid
from sydent_py.rate_limits import RateLimits

BUDGET = "homeserver_lookups_per_day"


@dataclass(frozen=True)
class LookupForHomeserver:
    """Answers what lookups of clients answer."""

    database: Database
    directory: Directory
    rate_limits: RateLimits

    def __call__(self, homeserver: TrustedHomeserver, threepids: Sequence[ThreePid | None]) -> list[str | None]:
        """The user ID of each of ``threepids`` that has one; None is an address that nobody can have, and counts too.

        Raises ``Forbidden`` for a homeserver that may not look up, and ``LimitExceeded``.
        """
        if not homeserver.lookups:
            raise Forbidden(
                "The operator of this server does not let your homeserver look up: [[trusted_homeservers]] lookups."
            )
        self.rate_limits.spend(BUDGET, homeserver.name, len(threepids))
        with self.database.autocommit() as db:
            found = self.directory.find_all(db, list({each for each in threepids if each is not None}))
        return [None if each is None else found.get(each) for each in threepids]
