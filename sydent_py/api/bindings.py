"""Validated sessions and bindings (Identity Service API, "Establishing associations"), and what an account sees of itself."""

from typing import Any

from flask import Blueprint

from sydent_py.api.access import (
    account,
    account_or_homeserver,
    account_without_terms,
    caller,
    calling_homeserver,
)
from sydent_py.api.web import ClientSecret, Parameters, ShortText, parse, query, services
from sydent_py.bindings.associations import Vouched
from sydent_py.errors import MissingParams
from sydent_py.identifiers import ThreePid
from sydent_py.validation.sessions import Proof

bp = Blueprint("bindings", __name__)

V2 = "/_matrix/identity/v2/3pid"
OWN = "/_matrix/identity/unstable/sydent_py"


class SessionQuery(Parameters):
    """A session and the secret of the client that started it."""

    sid: ShortText
    client_secret: ClientSecret


class BindBody(SessionQuery):
    """A proved address, and the user to bind it to."""

    mxid: str


class ThreePidBody(Parameters):
    """An address as it was typed."""

    medium: str
    address: str


class UnbindBody(Parameters):
    """An address, and the user to take it from. A client proves the address by a session; a homeserver signs."""

    mxid: str
    threepid: ThreePidBody
    sid: ShortText | None = None
    client_secret: ClientSecret | None = None


@bp.get(f"{V2}/getValidated3pid")
@account
def get_validated() -> dict[str, Any]:
    """``GET /3pid/getValidated3pid``"""
    session = query(SessionQuery)
    return validated(services().validation.sessions.get_validated(caller(), session.sid, session.client_secret))


@bp.post(f"{V2}/bind")
@account
def bind() -> dict[str, Any]:
    """``POST /3pid/bind``"""
    body = parse(BindBody, form=True)
    vouched = services().bindings.bind(caller(), body.sid, body.client_secret, body.mxid)
    return {**vouched.signed, **_beside(receipt=vouched.receipt.to_json())}


@bp.post(f"{V2}/unbind")
@account_or_homeserver
def take_back() -> dict[str, Any]:
    """``POST /3pid/unbind``"""
    body = parse(UnbindBody)
    threepid = ThreePid.parse(body.threepid.medium, body.threepid.address)
    homeserver = calling_homeserver()
    unbind = services().bindings.unbind
    if homeserver is not None:
        return _removed(unbind.by_homeserver(homeserver, body.mxid, threepid))
    if body.sid is None or body.client_secret is None:
        raise MissingParams("Missing: sid and client_secret, which prove the address.")
    return _removed(unbind.by_session(caller(), body.sid, body.client_secret, body.mxid, threepid))


@bp.get(f"{OWN}/bindings/mine")
@account_without_terms
def show_mine() -> dict[str, Any]:
    """Everything held about the account: bindings, sessions and invitations."""
    return services().bindings.mine.show(caller())


@bp.delete(f"{OWN}/bindings/<medium>/<path:address>")
@account_without_terms
def remove_mine(medium: str, address: str) -> dict[str, Any]:
    """Remove a binding of the account's own, without another proof."""
    return _removed(services().bindings.unbind.own(caller(), ThreePid.parse(medium, address)))


@bp.post(f"{OWN}/account/erase")
@account_without_terms
def erase_mine() -> dict[str, Any]:
    """Erase the account and all that belongs to it. Takes no parameters, and needs no body."""
    return {"erased": services().bindings.mine.erase(caller())}


def validated(proof: Proof) -> dict[str, Any]:
    """A validated address."""
    return {"medium": proof.threepid.medium, "address": proof.threepid.address, "validated_at": proof.validated_at_ms}


def _removed(vouched: Vouched | None) -> dict[str, Any]:
    """Nothing, as the specification says; and beside it what the log says, where there was something to remove."""
    return _beside(receipt=vouched.receipt.to_json(), signed=vouched.signed) if vouched else {}


def _beside(**told: Any) -> dict[str, Any]:
    """What no signature covers (Appendices, "Signing JSON"), under our own name."""
    return {"unsigned": {"sydent_py": told}}
