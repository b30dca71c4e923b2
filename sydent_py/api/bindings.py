"""Validated sessions and bindings (Identity Service API, "Establishing associations")."""

from typing import Any

from flask import Blueprint

from sydent_py.api.access import account, caller
from sydent_py.api.web import ClientSecret, Parameters, ShortText, parse, query, services
from sydent_py.identifiers import ThreePid

bp = Blueprint("bindings", __name__, url_prefix="/_matrix/identity/v2/3pid")


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


class UnbindBody(SessionQuery):
    """A proved address, and the user to take it from."""

    mxid: str
    threepid: ThreePidBody


@bp.get("/getValidated3pid")
@account
def get_validated() -> dict[str, Any]:
    """``GET /3pid/getValidated3pid``"""
    session = query(SessionQuery)
    proof = services().validation.sessions.get_validated(caller(), session.sid, session.client_secret)
    return {"medium": proof.threepid.medium, "address": proof.threepid.address, "validated_at": proof.validated_at_ms}


@bp.post("/bind")
@account
def bind() -> dict[str, Any]:
    """``POST /3pid/bind``"""
    body = parse(BindBody, form=True)
    return services().bindings.bind(caller(), body.sid, body.client_secret, body.mxid)


@bp.post("/unbind")
@account
def unbind() -> dict[str, Any]:
    """``POST /3pid/unbind`` by session"""
    body = parse(UnbindBody)
    threepid = ThreePid.parse(body.threepid.medium, body.threepid.address)
    services().bindings.unbind(caller(), body.sid, body.client_secret, body.mxid, threepid)
    return {}
