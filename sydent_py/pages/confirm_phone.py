"""The page that says whether a code proved a phone number: ``GET /validate/msisdn/submitToken``."""

from flask import redirect
from werkzeug.wrappers import Response as BaseResponse

from sydent_py.api.access import public
from sydent_py.api.web import query, services
from sydent_py.errors import InvalidParam, LimitExceeded, MissingParams, NoValidSession, SessionExpired, TokenIncorrect
from sydent_py.identifiers import MSISDN
from sydent_py.pages import page
from sydent_py.pages.confirm import SubmittedLink
from sydent_py.phone_numbers import PhoneNumber

# What to do next, by what went wrong.
_PROBLEMS: page.Problems = {
    NoValidSession: ("This code is not valid any more", "Go back to your Matrix app and ask for a new code."),
    TokenIncorrect: ("This code is not right", "Compare it with the newest text message, or ask for a new code."),
    SessionExpired: ("This code has expired", "Go back to your Matrix app and ask for a new code."),
    MissingParams: ("This link is not complete", "Enter the code from the text message in your Matrix app instead."),
    InvalidParam: ("This link is not complete", "Enter the code from the text message in your Matrix app instead."),
    LimitExceeded: ("Too many codes were tried", "For your safety, this phone number can be confirmed again tomorrow."),
}

bp = page.blueprint("confirm_phone", _PROBLEMS)


@bp.get("/_matrix/identity/v2/validate/msisdn/submitToken")
@public
def submit_token() -> BaseResponse | str:
    """For whoever holds all three secrets. No text message of ours links here."""
    link = query(SubmittedLink)
    confirmed = services().validation.submit_token(link.sid, link.client_secret, link.token, None, MSISDN)
    if confirmed.next_link:
        return redirect(confirmed.next_link, 302)
    number = PhoneNumber.parse(f"+{confirmed.threepid.address}")
    return page.render("confirmed_phone.html", phone_number=number.international)
