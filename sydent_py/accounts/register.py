"""Exchanging an OpenID token of a homeserver for an access token (``POST /account/register``)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Protocol

import structlog

from sydent_py import tokens
from sydent_py.accounts import models
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import LimitExceeded, Unauthorized, Unknown
from sydent_py.federation.transport import RequestFailed
from sydent_py.identifiers import ServerName, UserId
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import hash_token

# A failure is told after one second, or after the eleven that the slowest one takes, and at no other time.
FAST_FAILURE_S = 1.0
SLOW_FAILURE_S = 11.0

# How long a registration waits while as many as are allowed ask homeservers, and when its client should come back.
WAIT_FOR_SLOT_S = 0.5
RETRY_AFTER_MS = 2000

log = structlog.get_logger(__name__)


class Homeservers(Protocol):
    """Whom to ask who a token belongs to."""

    def userinfo(self, server: ServerName, access_token: str) -> UserId:
        """The user an OpenID token was made for; ``Unauthorized`` or ``RequestFailed``."""


@dataclass(frozen=True)
class Register:
    """Gives out access tokens.

    ``slots`` are the threads that may wait for homeservers at once: fewer than there are, because a stranger decides how
    long a homeserver takes, and somebody has to answer everyone else.
    """

    database: Database
    homeservers: Homeservers
    rate_limits: RateLimits
    clock: Clock
    slots: BoundedSemaphore

    def __call__(self, server: ServerName, openid_token: str, network: str) -> str:
        """A new access token for the user whom ``server`` names as the owner of ``openid_token``.

        Raises ``Unauthorized`` when the homeserver rejects the token, ``LimitExceeded``, and one and the same ``Unknown``
        (502) when it cannot be asked, whatever the reason: a stranger who names servers must not learn what our network
        looks like from the answer or from the time it took.
        """
        self.rate_limits.spend("register_per_network", network)
        with self._slot():
            user_id = self._owner(server, openid_token)
        token = tokens.new_token()
        with self.database.begin() as db:
            models.add_token(db, str(user_id), hash_token(token), self.clock.now_ms())
        return token

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self.slots.acquire(timeout=WAIT_FOR_SLOT_S):
            raise LimitExceeded(RETRY_AFTER_MS, "Too many registrations are under way. Please try again in a moment.")
        try:
            yield
        finally:
            self.slots.release()

    def _owner(self, server: ServerName, openid_token: str) -> UserId:
        started_s = self.clock.monotonic_s()
        try:
            return self.homeservers.userinfo(server, openid_token)
        except RequestFailed as failure:
            log.warning("homeserver.not_asked", homeserver=str(server), reason=failure.reason)
            elapsed_s = self.clock.monotonic_s() - started_s
            tell_at_s = next((at_s for at_s in (FAST_FAILURE_S, SLOW_FAILURE_S) if elapsed_s <= at_s), math.ceil(elapsed_s))
            self.clock.sleep_s(tell_at_s - elapsed_s)
            raise Unknown("The homeserver could not be asked who you are. Please try again later.", status=502) from failure
        except Unauthorized:
            raise Unauthorized("The homeserver does not accept this OpenID token.") from None
