"""The page behind the link in a mail, and the pages that tell how it went."""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from sydent_py.api.access import public
from sydent_py.api.web import CORS_HEADERS, ClientSecret, Parameters, ShortText, parse, query, refusal_of, services
from sydent_py.errors import (
    InvalidParam,
    MissingParams,
    NoValidSession,
    SessionExpired,
    TokenIncorrect,
)
from sydent_py.validation.submit_token import Confirmed

bp = Blueprint("pages", __name__, template_folder="templates")

# Every page with an example of what it is given: at start each is rendered with it, so that a misspelt variable in an
# operator's own stops the start and not the first person.
_FRAME = {"server_name": "id.example.org", "stylesheet": "/static/page.css"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "confirm.html": {
        **_FRAME,
        "user_id": "@a:b",
        "address": "a@b",
        "action": "/the-action",
        "fields": {"the-sid": "s", "the-token": "t"},
    },
    "confirmed.html": {**_FRAME, "address": "a@b"},
    "problem.html": {**_FRAME, "title": "t", "message": "m"},
}

# Without these a page is of no use.
NEEDED = {"confirm.html": ("/the-action", "the-sid", "the-token")}

# What to do next, by what went wrong; a link carries nothing that the person could mend by hand.
_PROBLEMS = {
    NoValidSession: ("This link is not valid any more", "If you asked more than once, open the link in the newest mail."),
    TokenIncorrect: ("This link is not valid any more", "If you asked more than once, open the link in the newest mail."),
    SessionExpired: ("This link has expired", "Go back to your Matrix app and ask for a new mail."),
    MissingParams: ("This link is not complete", "Copy the whole link from the mail, to its very end."),
    InvalidParam: ("This link is not complete", "Copy the whole link from the mail, to its very end."),
}
_OTHER = ("Something went wrong", "Please try again in a few minutes.")


class Link(Parameters):
    """What the link in a mail carries."""

    sid: ShortText
    token: ShortText


class SubmittedLink(Link):
    """What the specification's own link carries."""

    client_secret: ClientSecret


@bp.get("/confirm")
@public
def confirm() -> str:
    """Name the address and the account that asked. Looking changes nothing: scanners open every link in a mail."""
    link = query(Link)
    pending = services().validation.submit_token.describe(link.sid, link.token)
    if pending.is_validated:
        return _page("confirmed.html", address=pending.threepid.address)
    return _page(
        "confirm.html",
        user_id=pending.user_id,
        address=pending.threepid.address,
        action=f"{_prefix()}/confirm",
        fields={"sid": link.sid, "token": link.token},
    )


@bp.post("/confirm")
@public
def press() -> BaseResponse | str:
    """The button was pressed: validate, and send the person on to where the client asked."""
    link = parse(Link, form=True)
    return _go_on(services().validation.submit_token.confirm(link.sid, link.token), status=303)


@bp.get("/_matrix/identity/v2/validate/email/submitToken")
@public
def submit_token() -> BaseResponse | str:
    """``GET /validate/email/submitToken``: for whoever holds all three secrets. No mail of ours links here."""
    link = query(SubmittedLink)
    return _go_on(services().validation.submit_token(link.sid, link.client_secret, link.token, None), status=302)


@bp.get("/static/page.css")
@public
def stylesheet() -> Response:
    """The one stylesheet."""
    with bp.open_resource("static/page.css") as css:
        response = Response(css.read(), mimetype="text/css")
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@bp.errorhandler(Exception)
def render_problem(error: Exception) -> tuple[str, int]:
    """A refusal, for people."""
    refusal = refusal_of(error)
    title, advice = _PROBLEMS.get(type(refusal), _OTHER)
    return _page("problem.html", title=title, message=advice), refusal.status


@bp.after_request
def protect(response: Response) -> Response:
    """A page shows an address and holds a secret: it is not framed, not cached, not leaked by a referrer."""
    targets = " ".join(services().next_link_origins)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {targets}; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Frame-Options"] = "DENY"
    if request.path.startswith("/_matrix/"):
        response.headers.update(CORS_HEADERS)
    return response


def _go_on(confirmed: Confirmed, status: int) -> BaseResponse | str:
    """To where the client asked, or to a page that says it is done."""
    if confirmed.next_link:
        return redirect(confirmed.next_link, status)
    return _page("confirmed.html", address=confirmed.threepid.address)


def _page(template: str, **context: Any) -> str:
    stylesheet_url = f"{_prefix()}/static/page.css"
    return render_template(template, server_name=services().server_name, stylesheet=stylesheet_url, **context)


def _prefix() -> str:
    """The path this server is published under; usually none."""
    return urlsplit(services().public_base_url).path
