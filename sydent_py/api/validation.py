"""Proving addresses (Identity Service API, "Email associations" and "Phone number associations")."""

import re
from typing import Annotated, Any

from flask import Blueprint, request
from pydantic import BeforeValidator, Field, StringConstraints

from sydent_py.api.access import account, caller
from sydent_py.api.web import ClientSecret, Parameters, ShortText, client_network, parse, services
from sydent_py.strict_json import MAX_INTEGER
from sydent_py.validation.request_email_token import EmailTokenRequest
from sydent_py.validation.request_msisdn_token import MsisdnTokenRequest, Requested

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


class MsisdnTokenBody(Parameters):
    """A phone number to prove."""

    client_secret: ClientSecret
    country: ShortText
    phone_number: ShortText
    send_attempt: SendAttempt
    next_link: Annotated[str, StringConstraints(max_length=2048)] | None = None


class TokenSubmission(Parameters):
    """The token that was mailed, or the code that was texted."""

    sid: ShortText
    client_secret: ClientSecret
    token: ShortText


@bp.post("/email/requestToken")
@account
def request_email_token() -> dict[str, str]:
    """``POST /validate/email/requestToken``"""
    body = EmailTokenRequest(**parse(EmailTokenBody, form=True).model_dump())
    return {"sid": services().validation.request_email_token(caller(), body, client_network())}


@bp.post("/msisdn/requestToken")
@account
def request_msisdn_token() -> dict[str, Any]:
    """``POST /validate/msisdn/requestToken``"""
    body = parse(MsisdnTokenBody, form=True)
    return requested(services().validation.request_msisdn_token(caller(), msisdn_request(body), client_network()))


@bp.post("/email/submitToken")
@bp.post("/msisdn/submitToken")
@account
def submit_token() -> dict[str, bool]:
    """``POST /validate/email/submitToken`` and ``POST /validate/msisdn/submitToken``"""
    body = parse(TokenSubmission, form=True)
    services().validation.submit_token(body.sid, body.client_secret, body.token, caller())
    return {"success": True}


def msisdn_request(body: MsisdnTokenBody) -> MsisdnTokenRequest:
    """What the client asks for, in the language it asks in."""
    language = request.accept_languages.best_match(services().sms.texts.languages, "")
    return MsisdnTokenRequest(**body.model_dump(), language=language)


def requested(done: Requested) -> dict[str, Any]:
    """The session, and beside it what clients show: the number as it was understood."""
    number = done.number
    return {"success": True, "sid": done.sid, "msisdn": number.digits, "intl_fmt": number.international}
