"""Homeservers without a network: who a token belongs to is written in the token."""

from sydent_py.errors import Unauthorized
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.identifiers import ServerName, UserId


class FakeHomeservers:
    """``@alice:hs.test`` is its own OpenID token; a server named ``down.test`` never answers."""

    def userinfo(self, server: ServerName, access_token: str) -> UserId:
        if server.text == "down.test":
            raise RequestFailed(Reason.UNREACHABLE)
        if not access_token.startswith("@"):
            raise Unauthorized
        return UserId.parse(access_token)
