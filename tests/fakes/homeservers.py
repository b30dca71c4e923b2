"""Homeservers without a network: who a token belongs to is written in the token."""

from sydent_py.errors import Unauthorized
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.identifiers import ServerName, UserId
from tests.fakes.clock import FakeClock


class FakeHomeservers:
    """``@alice:hs.test`` is its own OpenID token; ``down.test`` is not there, and ``slow.test`` fails after 3.5 seconds."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def userinfo(self, server: ServerName, access_token: str) -> UserId:
        if server.text == "slow.test":
            self._clock.advance(3.5)
            raise RequestFailed(Reason.TIMEOUT)
        if server.text == "down.test":
            raise RequestFailed(Reason.UNREACHABLE)
        if not access_token.startswith("@"):
            raise Unauthorized
        return UserId.parse(access_token)
