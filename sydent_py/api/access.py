"""Who may call a route: every view says so, and one that does not is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Any, TypeVar, cast

from flask import Flask, current_app, g, request
from pydantic import StringConstraints

from sydent_py import strict_json
from sydent_py.api.web import (
    OTHER_PROXY_HEADERS,
    Parameters,
    address_in,
    client_address,
    client_network,
    parse,
    services,
)
from sydent_py.errors import Forbidden, TooLarge, Unauthorized, Unrecognized
from sydent_py.federation.x_matrix import SignedRequest
from sydent_py.homeserver_settings import TrustedHomeserver
from sydent_py.identifiers import ServerName, UserId
from sydent_py.replication.peers import Peer

View = TypeVar("View", bound=Callable[..., Any])

X_MATRIX = "x-matrix"
# Its content is encoded anew for each signature that it may be for.
MAX_SIGNED_BYTES = 64 * 1024


class Caller(Enum):
    """Who calls."""

    ANYONE = auto()
    ACCOUNT = auto()
    HOMESERVER = auto()
    ACCOUNT_OR_HOMESERVER = auto()
    TRUSTED_HOMESERVER = auto()
    PEER = auto()
    DELEGATE = auto()
    LOCAL = auto()


class StampedBody(Parameters):
    """What makes a signed body unlike all others: when it was signed, in ms since the epoch, and a random word."""

    ts: int
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{32}$")]


@dataclass(frozen=True)
class Access:
    """What a view asks of its caller."""

    caller: Caller
    terms: bool = True
    query_token: bool = False


def _declare(access: Access) -> Callable[[View], View]:
    def tag(view: View) -> View:
        view.access = access  # type: ignore[attr-defined]
        return view

    return tag


public = _declare(Access(Caller.ANYONE))
"""Anyone."""

account = _declare(Access(Caller.ACCOUNT))
"""A registered account that has accepted the terms."""

account_without_terms = _declare(Access(Caller.ACCOUNT, terms=False))
"""A registered account, also before it accepts the terms."""

account_by_query = _declare(Access(Caller.ACCOUNT, query_token=True))
"""As ``account``; the token may come as ``?access_token=``, because Synapse sends it only so."""

homeserver = _declare(Access(Caller.HOMESERVER))
"""A homeserver that signs the request (X-Matrix)."""

account_or_homeserver = _declare(Access(Caller.ACCOUNT_OR_HOMESERVER))
"""As ``account``, or a homeserver that signs the request."""

trusted_homeserver = _declare(Access(Caller.TRUSTED_HOMESERVER))
"""A homeserver of the configuration that signs the request, now and for the first time."""

peer = _declare(Access(Caller.PEER))
"""A peer of the configuration that signs the request, now and for the first time."""

homeserver_delegate = _declare(Access(Caller.DELEGATE))
"""Our own homeserver, known by its network alone; nobody where it is not enabled."""

local = _declare(Access(Caller.LOCAL))
"""A program on this machine that came through no proxy; for everybody else there is no such endpoint."""


def install(app: Flask) -> None:
    """Check the caller of every route before its view runs."""
    app.before_request(_check)


def caller() -> UserId:
    """The account that calls."""
    return cast(UserId, g.account)


def calling_homeserver() -> ServerName | None:
    """The homeserver that calls; None where an account does."""
    return cast("ServerName | None", g.get("homeserver"))


def calling_trusted_homeserver() -> TrustedHomeserver:
    """The trusted homeserver that calls."""
    return cast(TrustedHomeserver, g.trusted_homeserver)


def calling_peer() -> Peer:
    """The peer that calls."""
    return cast(Peer, g.peer)


def access_token() -> str:
    """The token in the request; ``Unauthorized`` if there is none."""
    scheme, token = _authorization()
    if scheme == "bearer" and token:
        return token
    raise Unauthorized


def declared(view: Callable[..., Any]) -> Access | None:
    """What ``view`` declares."""
    return getattr(view, "access", None)


def _check() -> None:
    if request.endpoint is None:
        return
    access = declared(current_app.view_functions[request.endpoint])
    if access is None:
        raise Forbidden("This endpoint does not say who may call it, so nobody may.")
    if access.caller is Caller.ANYONE:
        return
    if access.caller is Caller.DELEGATE:
        _check_delegate()
    elif access.caller is Caller.LOCAL:
        _check_local()
    elif access.caller is Caller.PEER:
        g.peer = _peer()
    elif access.caller is Caller.TRUSTED_HOMESERVER:
        g.trusted_homeserver = _trusted_homeserver()
    else:
        _identify(access)


def _identify(access: Access) -> None:
    """Find out which account or homeserver calls."""
    if access.caller is Caller.HOMESERVER or (access.caller is not Caller.ACCOUNT and _authorization()[0] == X_MATRIX):
        g.homeserver = _homeserver()
    else:
        g.account = _account(access)


def _account(access: Access) -> UserId:
    token = request.args.get("access_token") if access.query_token and "Authorization" not in request.headers else None
    return services().accounts.authenticate(token or access_token(), terms_required=access.terms)


def _homeserver() -> ServerName:
    """The homeserver whose signature covers the request exactly as it came."""
    if _authorization()[0] != X_MATRIX:
        raise Unauthorized("A homeserver must sign this request: Authorization: X-Matrix.")
    return services().accounts.authenticate_homeserver(_signed_request(), client_network()).origin


def _trusted_homeserver() -> TrustedHomeserver:
    """The homeserver that has signed what the body says of itself, beside all else."""
    homeserver = _homeserver()
    stamp = parse(StampedBody)
    return services().homeservers.authenticate(homeserver, stamp.ts, stamp.id)


def _peer() -> Peer:
    if _authorization()[0] != X_MATRIX:
        raise Unauthorized("A peer must sign this request: Authorization: X-Matrix.")
    return services().peering.authenticate(_signed_request())


def _signed_request() -> SignedRequest:
    if (request.content_length or 0) > MAX_SIGNED_BYTES or len(request.get_data(cache=True)) > MAX_SIGNED_BYTES:
        raise TooLarge(f"A signed request may have at most {MAX_SIGNED_BYTES} bytes.")
    return SignedRequest(
        method=request.method,
        uri=request.environ["RAW_URI"],
        content=strict_json.parse_object(request.get_data(cache=True)) if request.method in {"POST", "PUT"} else None,
        authorization=request.headers["Authorization"],
    )


def _authorization() -> tuple[str, str]:
    """The scheme, in lower case, and what follows it."""
    scheme, _, rest = request.headers.get("Authorization", "").replace("\t", " ").partition(" ")
    return scheme.lower(), rest.strip()


def _check_delegate() -> None:
    networks, address = services().delegate_networks, client_address()
    if "Origin" in request.headers:
        raise Forbidden("This endpoint is for this server's own homeserver, and not for web pages.")
    if address is None or not any(address in network for network in networks):
        raise Forbidden(
            "This endpoint is for this server's own homeserver: [homeserver_delegate] networks does not name yours."
        )


def _check_local() -> None:
    through_a_proxy = any(name in request.headers for name in ("X-Forwarded-For", *OTHER_PROXY_HEADERS))
    peer = address_in(request.remote_addr or "")
    if through_a_proxy or peer is None or not peer.is_loopback:
        raise Unrecognized
