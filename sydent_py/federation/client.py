"""The questions this server asks of homeservers: each an operation on a server name, never a URL."""

from dataclasses import dataclass
from urllib.parse import quote

import structlog

from sydent_py.clock import Clock, Deadline
from sydent_py.errors import MatrixError, Unauthorized
from sydent_py.federation.discovery import Discovery, system_resolver
from sydent_py.federation.transport import Reason, RequestFailed, Response, Transport
from sydent_py.federation.well_known import WellKnown
from sydent_py.identifiers import ServerName, UserId
from sydent_py.settings import ConfigurationError, Federation
from sydent_py.strict_json import parse_object

log = structlog.get_logger(__name__)

TIMEOUT_S = 10.0
# Common web servers refuse a request line of more than 8 KiB, so no homeserver issues a longer token.
MAX_TOKEN_BYTES = 7 * 1024

_OK = 200
_REJECTED = frozenset({401, 403})


@dataclass(frozen=True)
class Homeservers:
    """Every homeserver there is, or those in ``allowed`` where it is not empty."""

    clock: Clock
    transport: Transport
    discovery: Discovery
    allowed: frozenset[str] = frozenset()
    timeout_s: float = TIMEOUT_S

    def userinfo(self, server: ServerName, access_token: str) -> UserId:
        """The user whom ``server`` gave the OpenID token ``access_token``.

        Raises ``Unauthorized`` where the homeserver rejects the token or vouches for a user of another server, and
        ``RequestFailed`` where it cannot be asked or makes no sense. Server-Server API,
        ``GET /_matrix/federation/v1/openid/userinfo``.
        """
        token = quote(access_token, safe="")
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthorized("The OpenID token is not valid.")
        response = self._get(server, f"/_matrix/federation/v1/openid/userinfo?access_token={token}")
        if response.status in _REJECTED:
            raise Unauthorized("The homeserver does not accept this OpenID token.")
        user_id = _subject(response)
        if user_id.server.text != server.text:
            log.warning("homeserver.foreign_user", homeserver=str(server), user_server=str(user_id.server))
            raise Unauthorized("The homeserver vouches for a user of another server.")
        return user_id

    def _get(self, server: ServerName, target: str) -> Response:
        if self.allowed and server.text not in self.allowed:
            raise RequestFailed(Reason.BLOCKED, "not one of federation.allowed_homeservers")
        deadline = Deadline.after(self.clock, self.timeout_s)
        return self.transport.get(self.discovery.destinations(server, deadline), target, deadline)


def build(settings: Federation, clock: Clock) -> Homeservers:
    """The homeservers that ``settings`` let us reach; ``ConfigurationError`` where the extra roots cannot be read."""
    try:
        transport = Transport(allow_networks=settings.allow_networks, ca_file=settings.ca_file)
    except OSError as error:
        raise ConfigurationError(f"federation.ca_file: {settings.ca_file} cannot be used: {error}") from error
    discovery = Discovery(WellKnown(transport, clock), system_resolver())
    return Homeservers(clock, transport, discovery, frozenset(settings.allowed_homeservers))


def _subject(response: Response) -> UserId:
    """The ``sub`` of a userinfo answer, whatever its Content-Type."""
    if response.status != _OK:
        raise RequestFailed(Reason.MALFORMED, f"status {response.status}")
    try:
        subject = parse_object(response.body).get("sub")
        if isinstance(subject, str):
            return UserId.parse(subject)
    except MatrixError as error:
        raise RequestFailed(Reason.MALFORMED, "not the answer of a homeserver") from error
    raise RequestFailed(Reason.MALFORMED, "no sub in the answer")
