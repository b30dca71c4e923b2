"""Exchanging an OpenID token of a homeserver for an access token (``POST /account/register``)."""

from dataclasses import dataclass
from typing import Protocol

from sydent_py import tokens
from sydent_py.accounts import models
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import Unauthorized
from sydent_py.federation.patience import Slots, patience
from sydent_py.identifiers import ServerName, UserId
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import hash_token


class Homeservers(Protocol):
    """Whom to ask who a token belongs to."""

    def userinfo(self, server: ServerName, access_token: str) -> UserId:
        """The user an OpenID token was made for; ``Unauthorized`` or ``RequestFailed``."""


@dataclass(frozen=True)
class Register:
    """Gives out access tokens; ``slots`` are the threads that may wait for homeservers at once."""

    database: Database
    homeservers: Homeservers
    rate_limits: RateLimits
    clock: Clock
    slots: Slots

    def __call__(self, server: ServerName, openid_token: str, network: str) -> str:
        """A new access token for the user whom ``server`` names as the owner of ``openid_token``.

        Raises ``Unauthorized`` when the homeserver rejects the token, ``LimitExceeded``, and one and the same ``Unknown``
        (502) when it cannot be asked, whatever the reason.
        """
        self.rate_limits.spend("register_per_network", network)
        user_id = self._owner(server, openid_token, network)
        token = tokens.new_token()
        with self.database.begin() as db:
            models.add_token(db, str(user_id), hash_token(token), self.clock.now_ms())
        return token

    def _owner(self, server: ServerName, openid_token: str, network: str) -> UserId:
        with patience(server, network, self.clock, self.slots):
            try:
                return self.homeservers.userinfo(server, openid_token)
            except Unauthorized:
                raise Unauthorized("The homeserver does not accept this OpenID token.") from None
