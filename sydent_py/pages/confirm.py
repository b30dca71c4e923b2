"""The page behind the link in a mail, and the pages that tell how it went."""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from sydent_py.api.access import public
from sydent_py.api.web import CORS_HEADERS, ClientSecret, Parameters, ShortText, parse, query, services
from sydent_py.errors import (
    InvalidParam,
    MatrixError,
    MissingParams,
    NoValidSession,
    SessionExpired,
    TokenIncorrect,
    Unknown,
)

bp = Blueprint("pages", __name__, template_folder="templates")

TEMPLATES = ("confirm.html", "confirmed.html", "problem.html")

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
        return _page("confirmed.html", address=pending.threepid.address, next_link=None)
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
    threepid, next_link = services().validation.submit_token.confirm(link.sid, link.token)
    if next_link:
        return redirect(next_link, code=303)
    return _page("confirmed.html", address=threepid.address, next_link=None)


@bp.get("/_matrix/identity/v2/validate/email/submitToken")
@public
def submit_token() -> BaseResponse | str:
    """``GET /validate/email/submitToken``: for whoever holds all three secrets. No mail of ours links here."""
    link = query(SubmittedLink)
    use_case = services().validation.submit_token
    next_link = use_case(link.sid, link.client_secret, link.token, None)
    if next_link:
        return redirect(next_link)
    return _page("confirmed.html", address=use_case.describe(link.sid, link.token).threepid.address, next_link=None)


@bp.get("/static/page.css")
@public
def stylesheet() -> Response:
    """The one stylesheet."""
    with bp.open_resource("static/page.css") as css:
        response = Response(css.read(), mimetype="text/css")
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@bp.errorhandler(MatrixError)
def render_problem(error: MatrixError) -> tuple[str, int]:
    """A refusal, for people."""
    title, advice = _PROBLEMS.get(type(error), _OTHER)
    return _page("problem.html", title=title, message=advice), error.status


@bp.errorhandler(HTTPException)
def render_http_problem(error: HTTPException) -> tuple[str, int]:
    """What Flask refuses by itself, for people."""
    return render_problem(Unknown(status=error.code or 400))


@bp.after_request
def protect(response: Response) -> Response:
    """A page shows an address and holds a secret: it is not framed, not cached, not leaked by a referrer."""
    targets = " ".join(services().validation.request_email_token.next_link_origins)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {targets}; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Frame-Options"] = "DENY"
    if request.path.startswith("/_matrix/"):
        response.headers.update(CORS_HEADERS)
    return response


def _page(template: str, **context: Any) -> str:
    stylesheet_url = f"{_prefix()}/static/page.css"
    return render_template(template, server_name=services().server_name, stylesheet=stylesheet_url, **context)


def _prefix() -> str:
    """The path this server is published under; usually none."""
    return urlsplit(services().public_base_url).path
