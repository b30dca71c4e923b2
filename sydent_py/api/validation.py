"""Proving addresses (Identity Service API, "Email associations")."""

import re
from typing import Annotated, Any

from flask import Blueprint
from pydantic import BeforeValidator, Field, StringConstraints

from sydent_py.api.access import account, caller
from sydent_py.api.web import ClientSecret, Parameters, ShortText, client_network, parse, services
from sydent_py.strict_json import MAX_INTEGER
from sydent_py.validation.request_email_token import EmailTokenRequest

bp = Blueprint("validation", __name__, url_prefix="/_matrix/identity/v2/validate")


_DIGITS = re.compile(r"[0-9]{1,16}", re.ASCII)


def _number(value: Any) -> Any:
    """matrix-js-sdk sends the number as a string, and forms know nothing else."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


SendAttempt = Annotated[int, BeforeValidator(_number), Field(ge=0, le=MAX_INTEGER)]


class EmailTokenBody(Parameters):
    """An address to prove."""

    client_secret: ClientSecret
    email: str
    send_attempt: SendAttempt
    next_link: Annotated[str, StringConstraints(max_length=2048)] | None = None
    brand: str | None = None


class TokenSubmission(Parameters):
    """The token that was mailed."""

    sid: ShortText
    client_secret: ClientSecret
    token: ShortText


@bp.post("/email/requestToken")
@account
def request_email_token() -> dict[str, str]:
    """``POST /validate/email/requestToken``"""
    body = EmailTokenRequest(**parse(EmailTokenBody, form=True).model_dump())
    return {"sid": services().validation.request_email_token(caller(), body, client_network())}


@bp.post("/email/submitToken")
@account
def submit_token() -> dict[str, bool]:
    """``POST /validate/email/submitToken``"""
    body = parse(TokenSubmission, form=True)
    services().validation.submit_token(body.sid, body.client_secret, body.token, caller())
    return {"success": True}
