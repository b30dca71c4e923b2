"""The questions this server asks of homeservers: each an operation on a server name, never a URL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import structlog
from canonicaljson import encode_canonical_json

from sydent_py.clock import Clock, Deadline
from sydent_py.errors import MatrixError, Unauthorized
from sydent_py.federation.discovery import Discovery, system_resolver
from sydent_py.federation.transport import Destination, Reason, RequestFailed, Response, Transport
from sydent_py.federation.well_known import WellKnown
from sydent_py.federation.x_matrix import authorization
from sydent_py.identifiers import ServerName, UserId
from sydent_py.settings import ConfigurationError, Federation
from sydent_py.signing import Signer
from sydent_py.strict_json import parse_object

log = structlog.get_logger(__name__)

TIMEOUT_S = 10.0
# Nobody waits for it, and a homeserver asks that of the inviter, for which Synapse takes up to a minute, before it answers.
ONBIND_TIMEOUT_S = 75.0
# Common web servers refuse a request line of more than 8 KiB, so no homeserver issues a longer token.
MAX_TOKEN_BYTES = 7 * 1024

USERINFO = "/_matrix/federation/v1/openid/userinfo"
ONBIND = "/_matrix/federation/v1/3pid/onbind"
SERVER_KEYS = "/_matrix/key/v2/server"

_OK = 200
_UNAUTHORIZED = 401
_REJECTED = frozenset({401, 403})
_NO_SUCH_METHOD = frozenset({404, 405, 501})
# Of the refusals that are the client's fault, those that a later attempt may not meet: it took too long, or came too often.
_PASSING = frozenset({408, 429})
_ERRCODE = re.compile(r"[A-Za-z0-9_.]{1,100}", re.ASCII)


class Refused(Exception):
    """A homeserver's final no: asking again would not help. ``errcode`` is empty where it gives none."""

    def __init__(self, status: int, errcode: str) -> None:
        super().__init__(f"{status} {errcode}".rstrip())
        self.status = status
        self.errcode = errcode


@dataclass(frozen=True)
class Homeservers:
    """Every homeserver there is, or those in ``allowed`` where it is not empty."""

    clock: Clock
    transport: Transport
    discovery: Discovery
    signer: Signer
    allowed: frozenset[str] = frozenset()
    timeout_s: float = TIMEOUT_S
    onbind_timeout_s: float = ONBIND_TIMEOUT_S

    def userinfo(self, server: ServerName, access_token: str) -> UserId:
        """The user whom ``server`` gave the OpenID token ``access_token``.

        Raises ``Unauthorized`` where the homeserver rejects the token or vouches for a user of another server, and
        ``RequestFailed`` where it cannot be asked or makes no sense. Server-Server API,
        ``GET /_matrix/federation/v1/openid/userinfo``.
        """
        token = quote(access_token, safe="")
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthorized("The OpenID token is not valid.")
        response = self._get(server, f"{USERINFO}?access_token={token}")
        if response.status in _REJECTED:
            raise Unauthorized("The homeserver does not accept this OpenID token.")
        user_id = _subject(response)
        if user_id.server.text != server.text:
            log.warning("homeserver.foreign_user", homeserver=str(server), user_server=str(user_id.server))
            raise Unauthorized("The homeserver vouches for a user of another server.")
        return user_id

    def server_keys(self, server: ServerName) -> dict[str, Any]:
        """The keys ``server`` publishes, as it published them: nothing is verified here. Raises ``RequestFailed``.

        Server-Server API, ``GET /_matrix/key/v2/server``.
        """
        return _object(self._get(server, SERVER_KEYS))

    def onbind(self, server: ServerName, content: Mapping[str, Any], *, signed: bool) -> None:
        """Tell ``server`` that one of its users has bound an address, and which invitations wait for it.

        The specification says PUT; Synapse listens to POST. A homeserver that cannot verify us (401) gets it unsigned.
        Raises ``Refused`` where asking again would not help, and ``RequestFailed`` where it might. Server-Server API,
        ``PUT /_matrix/federation/v1/3pid/onbind``.
        """
        destinations, deadline = self._find(server, self.onbind_timeout_s)
        response = self._notify(server, destinations, "PUT", content, deadline, signed=signed)
        if response.status in _NO_SUCH_METHOD or (_is_refusal(response) and _errcode(response) == "M_UNRECOGNIZED"):
            response = self._notify(server, destinations, "POST", content, deadline, signed=signed)
        if _is_refusal(response):
            raise Refused(response.status, _errcode(response))
        if not _is_success(response):
            raise RequestFailed(Reason.STATUS, str(response.status))

    def _notify(
        self,
        server: ServerName,
        destinations: list[Destination],
        method: str,
        content: Mapping[str, Any],
        deadline: Deadline,
        *,
        signed: bool,
    ) -> Response:
        """The answer to the notification, whose signature is left away where it gets in the way.

        Not after a timeout: a homeserver that acts on it twice may set back a user who has answered in between.
        """
        body, headers = encode_canonical_json(content), {"Content-Type": "application/json"}
        if signed:
            signature = authorization(self.signer, method=method, uri=ONBIND, destination=server.text, content=content)
            headers_signed = {**headers, "Authorization": signature}
            response = self.transport.request(destinations, method, ONBIND, deadline, body=body, headers=headers_signed)
            if response.status != _UNAUTHORIZED:
                return response
        return self.transport.request(destinations, method, ONBIND, deadline, body=body, headers=headers)

    def _get(self, server: ServerName, target: str) -> Response:
        destinations, deadline = self._find(server, self.timeout_s)
        return self.transport.get(destinations, target, deadline)

    def _find(self, server: ServerName, timeout_s: float) -> tuple[list[Destination], Deadline]:
        """Where ``server`` is, and until when it may take to answer."""
        if self.allowed and server.text not in self.allowed:
            raise RequestFailed(Reason.BLOCKED, "not one of federation.allowed_homeservers")
        deadline = Deadline.after(self.clock, timeout_s)
        return self.discovery.destinations(server, deadline), deadline


def build(settings: Federation, clock: Clock, signer: Signer) -> Homeservers:
    """The homeservers that ``settings`` let us reach; ``ConfigurationError`` where the extra roots cannot be read."""
    try:
        transport = Transport(allow_networks=settings.allow_networks, ca_file=settings.ca_file)
    except OSError as error:
        raise ConfigurationError(f"federation.ca_file: {settings.ca_file} cannot be used: {error}") from error
    discovery = Discovery(WellKnown(transport, clock), system_resolver())
    return Homeservers(clock, transport, discovery, signer, frozenset(settings.allowed_homeservers))


def _object(response: Response) -> dict[str, Any]:
    """The JSON object that was asked for, whatever its Content-Type."""
    if response.status != _OK:
        raise RequestFailed(Reason.MALFORMED, f"status {response.status}")
    try:
        return parse_object(response.body)
    except MatrixError as error:
        raise RequestFailed(Reason.MALFORMED, "not the answer of a homeserver") from error


def _subject(response: Response) -> UserId:
    subject = _object(response).get("sub")
    if not isinstance(subject, str):
        raise RequestFailed(Reason.MALFORMED, "no sub in the answer")
    try:
        return UserId.parse(subject)
    except MatrixError as error:
        raise RequestFailed(Reason.MALFORMED, "not the answer of a homeserver") from error


def _is_success(response: Response) -> bool:
    return 200 <= response.status < 300  # noqa: PLR2004 - the classes of RFC 9110


def _is_refusal(response: Response) -> bool:
    return 400 <= response.status < 500 and response.status not in _PASSING  # noqa: PLR2004 - as above


def _errcode(response: Response) -> str:
    """The errcode of a refusal, if it has one that can be written to a log."""
    try:
        errcode = parse_object(response.body).get("errcode")
    except MatrixError:
        return ""
    return errcode if isinstance(errcode, str) and _ERRCODE.fullmatch(errcode) else ""
