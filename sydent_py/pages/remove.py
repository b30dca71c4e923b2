"""Where the owner of an address removes a binding that a homeserver asked about."""

from typing import Annotated

from pydantic import StringConstraints

from sydent_py.api.access import public
from sydent_py.api.web import Parameters, parse, query, services
from sydent_py.pages import page

bp = page.blueprint("remove")


class Link(Parameters):
    """What the link in a mail carries: more than an address and a Matrix ID, of up to 255 characters each."""

    t: Annotated[str, StringConstraints(max_length=2048)]


@bp.get("/remove")
@public
def ask() -> str:
    """Name the address and the account. Looking changes nothing: scanners open every link in a mail."""
    link = query(Link)
    removal, stands = services().bindings.removals.describe(link.t)
    address = removal.threepid.address
    if not stands:
        return page.render("removed.html", address=address)
    fields = {"t": link.t}
    return page.render(
        "remove.html", address=address, user_id=removal.user_id, action=page.published("/remove"), fields=fields
    )


@bp.post("/remove")
@public
def press() -> str:
    """The button was pressed."""
    removal = services().bindings.removals.remove(parse(Link, form=True).t)
    return page.render("removed.html", address=removal.threepid.address)
