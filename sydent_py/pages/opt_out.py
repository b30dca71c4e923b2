"""Where an address is taken out of invitations by mail, and put back."""

from typing import Annotated

from flask import request
from pydantic import StringConstraints

from sydent_py.api.access import public
from sydent_py.api.web import Parameters, parse, query, services
from sydent_py.pages import page

bp = page.blueprint("opt_out")


class Link(Parameters):
    """What the opt-out link in a mail carries: more than its address, which has up to 254 characters."""

    t: Annotated[str, StringConstraints(max_length=1024)]


@bp.get("/opt-out")
@public
def ask() -> str:
    """Name the address, and offer the other state. Looking changes nothing: scanners open every link in a mail."""
    link = query(Link)
    found = services().invites.opt_outs.describe(link.t)
    if found.is_opted_out:
        return _opted_out(link, found.threepid.address)
    return page.render(
        "opt_out.html", address=found.threepid.address, action=page.published("/opt-out"), fields={"t": link.t}
    )


@bp.post("/opt-out")
@public
def opt_out() -> str:
    """Send no more invitations: the button was pressed, or that of the mail program (RFC 8058).

    A mail program posts to the link itself, as multipart or not, and says nothing that we have to know.
    """
    link = query(Link) if "t" in request.args else parse(Link, form=True)
    return _opted_out(link, services().invites.opt_outs.opt_out(link.t).address)


@bp.post("/opt-in")
@public
def opt_in() -> str:
    """Send invitations again."""
    link = parse(Link, form=True)
    return page.render("opted_in.html", address=services().invites.opt_outs.opt_in(link.t).address)


def _opted_out(link: Link, address: str) -> str:
    return page.render("opted_out.html", address=address, action=page.published("/opt-in"), fields={"t": link.t})
