"""What all pages share: their frame, their stylesheet, their headers, and how a refusal looks to a person."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template

from sydent_py.api.access import public
from sydent_py.api.web import refusal_of, retry_after, services
from sydent_py.errors import (
    InvalidParam,
    LimitExceeded,
    MatrixError,
    MissingParams,
    NotFound,
    NoValidSession,
    SessionExpired,
    TokenIncorrect,
)

# Every page with an example of what it is given: at start each is rendered with it, so that a misspelt variable in an
# operator's own stops the start and not the first person.
_FRAME = {"server_name": "id.example.org", "stylesheet": "/static/page.css"}
_FORM = {"action": "/the-action", "fields": {"the-field": "f", "the-other": "o"}}
_LOG = {
    "name": "n",
    "vkey": "v",
    "url": "https://id.example.org/log",
    "path": "/log",
    "size": 5,
    "signed_at": datetime(2026, 1, 1, tzinfo=UTC),
    "checkpoint": "c",
}
_PEERS = [
    {
        "name": "id.partner.org",
        "is_followed": True,
        "is_served": True,
        "is_stopped": False,
        "size": 5,
        "verified_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
]
EXAMPLES: dict[str, dict[str, Any]] = {
    "front.html": {
        **_FRAME,
        "base_url": "https://id.example.org",
        "api_path": "/api",
        "has_phones": True,
        "operator": {"name": "n", "contact": "a@b", "link": "mailto:a@b"},
        "policies": [{"version": "1", "translations": [{"language": "en", "name": "n", "link": "https://p"}]}],
        "signing_keys": [{"id": "ed25519:0", "public_key": "k"}],
        "log": _LOG,
        "peers": _PEERS,
    },
    "confirm.html": {**_FRAME, **_FORM, "user_id": "@a:b", "address": "a@b"},
    "confirmed.html": {**_FRAME, "address": "a@b"},
    "confirmed_phone.html": {**_FRAME, "phone_number": "+44 7400 123456"},
    "opt_out.html": {**_FRAME, **_FORM, "address": "a@b"},
    "opted_out.html": {**_FRAME, **_FORM, "address": "a@b"},
    "opted_in.html": {**_FRAME, "address": "a@b"},
    "remove.html": {**_FRAME, **_FORM, "user_id": "@a:b", "address": "a@b"},
    "removed.html": {**_FRAME, "address": "a@b"},
    "problem.html": {**_FRAME, "title": "t", "message": "m"},
}

# Without these a page is of no use.
NEEDED = dict.fromkeys(
    ("confirm.html", "opt_out.html", "opted_out.html", "remove.html"), ("/the-action", "the-field", "the-other")
)

# What to do next, by what went wrong; a link carries nothing that the person could mend by hand.
_OUTDATED = ("This link is not valid any more", "If you asked more than once, open the link in the newest mail.")
_CUT_OFF = ("This link is not complete", "Copy the whole link from the mail, to its very end.")
_PROBLEMS: dict[type[MatrixError], tuple[str, str]] = {
    NoValidSession: _OUTDATED,
    TokenIncorrect: _OUTDATED,
    SessionExpired: ("This link has expired", "Go back to your Matrix app and ask for a new mail."),
    MissingParams: _CUT_OFF,
    InvalidParam: _CUT_OFF,
    NotFound: (
        "This link is not valid",
        "Copy the whole link from the mail, to its very end, or open the one in a newer mail.",
    ),
}
Problems = Mapping[type[MatrixError], tuple[str, str]]
_OTHER = ("Something went wrong", "Please try again in a few minutes.")


def blueprint(name: str, problems: Problems = MappingProxyType(_PROBLEMS)) -> Blueprint:
    """A blueprint all of whose answers are pages, refusals too; ``problems`` are title and advice by what went wrong."""
    pages = Blueprint(name, __name__, template_folder="templates")
    pages.register_error_handler(Exception, lambda error: _render_problem(error, problems))
    pages.after_request(_protect)
    return pages


def render(template: str, **context: Any) -> str:
    """The page of this template."""
    return render_template(template, server_name=services().server_name, stylesheet=published("/static/page.css"), **context)


def published(path: str) -> str:
    """``path`` as browsers know it: under the path this server is published under, which is usually none."""
    return urlsplit(services().public_base_url).path + path


def _render_problem(error: Exception, problems: Problems) -> tuple[str, int, dict[str, str]]:
    """A refusal, for people."""
    refusal = refusal_of(error)
    title, advice = problems.get(type(refusal), _OTHER)
    headers = {"Retry-After": retry_after(refusal)} if isinstance(refusal, LimitExceeded) else {}
    return render("problem.html", title=title, message=advice), refusal.status, headers


def _protect(response: Response) -> Response:
    """A page shows an address and holds a secret: it is not framed, not cached, not leaked by a referrer."""
    targets = " ".join(services().next_link_origins)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {targets}; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Frame-Options"] = "DENY"
    return response


bp = blueprint("pages")


@bp.get("/static/page.css")
@public
def stylesheet() -> Response:
    """The one stylesheet."""
    with bp.open_resource("static/page.css") as css:
        response = Response(css.read(), mimetype="text/css")
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response
