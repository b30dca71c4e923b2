"""The three v1 endpoints through which our own homeserver has its text messages sent; they ask for no token."""

from typing import Any

from flask import Blueprint

from sydent_py.api.access import homeserver_delegate
from sydent_py.api.bindings import SessionQuery, validated
from sydent_py.api.validation import MsisdnTokenBody, TokenSubmission, msisdn_request, requested
from sydent_py.api.web import client_network, parse, query, services
from sydent_py.validation.sessions import Delegate

bp = Blueprint("delegate", __name__, url_prefix="/_matrix/identity/api/v1")

OWNER = Delegate.HOMESERVER


@bp.post("/validate/msisdn/requestToken")
@homeserver_delegate
def request_msisdn_token() -> dict[str, Any]:
    """Send a code. A ``next_link`` is for a page that only the homeserver has."""
    body = parse(MsisdnTokenBody, form=True).model_copy(update={"next_link": None})
    return requested(services().validation.request_msisdn_token(OWNER, msisdn_request(body), client_network()))


@bp.post("/validate/msisdn/submitToken")
@homeserver_delegate
def submit_token() -> dict[str, bool]:
    """Take the code."""
    body = parse(TokenSubmission, form=True)
    services().validation.submit_token(body.sid, body.client_secret, body.token, OWNER)
    return {"success": True}


@bp.get("/3pid/getValidated3pid")
@homeserver_delegate
def get_validated() -> dict[str, Any]:
    """What a session proves."""
    session = query(SessionQuery)
    return validated(services().validation.sessions.get_validated(OWNER, session.sid, session.client_secret))
