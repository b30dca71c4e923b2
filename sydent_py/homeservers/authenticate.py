"""Which trusted homeserver asks: one of the configuration, now, and for the first time."""

from collections.abc import Mapping
from dataclasses import dataclass

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import Forbidden
from sydent_py.homeserver_settings import TrustedHomeserver
from sydent_py.homeservers import models
from sydent_py.identifiers import ServerName

# How far the clocks of a homeserver and of this server may be apart.
WINDOW_MS = 5 * 60_000


@dataclass(frozen=True)
class AuthenticateTrusted:
    """Lets the homeservers of the configuration in, each of their requests once."""

    database: Database
    trusted: Mapping[str, TrustedHomeserver]
    clock: Clock

    def __call__(self, homeserver: ServerName, ts: int, request_id: str) -> TrustedHomeserver:
        """The homeserver that has signed a request in which it says that it is ``ts`` (ms) and that this is ``request_id``.

        Raises ``Forbidden`` for a homeserver that is not trusted, and for a request that is late, early or a copy. The
        signature has been verified before.
        """
        trusted = self.trusted.get(homeserver.text)
        if trusted is None:
            raise Forbidden(
                "This server does not trust your homeserver: its operator has to name it in [[trusted_homeservers]]."
            )
        now_ms = self.clock.now_ms()
        if abs(ts - now_ms) > WINDOW_MS:
            raise Forbidden(f"The ts of this request is too far from our time, {now_ms}: is one of the clocks wrong?")
        with self.database.begin() as db:
            is_new = models.spend_request(db, trusted.name, request_id, ts + WINDOW_MS)
        if not is_new:
            raise Forbidden("A request with this id was seen before.")
        return trusted
