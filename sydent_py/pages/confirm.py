"""The page behind the link in a mail, and the page that tells how it went."""

from flask import redirect
from werkzeug.wrappers import Response as BaseResponse

from sydent_py.api.access import public
from sydent_py.api.web import ClientSecret, Parameters, ShortText, parse, query, services
from sydent_py.identifiers import EMAIL
from sydent_py.pages import page
from sydent_py.validation.submit_token import Confirmed

bp = page.blueprint("confirm")


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
        return page.render("confirmed.html", address=pending.threepid.address)
    return page.render(
        "confirm.html",
        user_id=pending.user_id,
        address=pending.threepid.address,
        action=page.published("/confirm"),
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
    return _go_on(services().validation.submit_token(link.sid, link.client_secret, link.token, None, EMAIL), status=302)


def _go_on(confirmed: Confirmed, status: int) -> BaseResponse | str:
    """To where the client asked, or to a page that says it is done."""
    if confirmed.next_link:
        return redirect(confirmed.next_link, status)
    return page.render("confirmed.html", address=confirmed.threepid.address)
