"""What trusted peers ask of each other, in signed requests."""

from typing import Any

from flask import Blueprint
from pydantic import Field

from sydent_py.api.access import calling_peer, peer
from sydent_py.api.web import Parameters, parse, query, services
from sydent_py.log.payloads import MAX_PAYLOADS
from sydent_py.tlog.text import MAX_NUMBER

bp = Blueprint("peers", __name__, url_prefix="/_matrix/identity/unstable/sydent_py")


class Range(Parameters):
    """Consecutive entries."""

    first: int = Field(alias="from", ge=0, le=MAX_NUMBER, strict=False)
    limit: int = Field(default=MAX_PAYLOADS, ge=1, le=MAX_PAYLOADS, strict=False)


class Grown(Parameters):
    """How many entries a log has now."""

    size: int = Field(ge=0, le=MAX_NUMBER)


@bp.get("/log/payloads")
@peer
def payloads() -> dict[str, Any]:
    """What entries are about: ``{"payloads": [{"nonce": <base64>, "payload": {...}} or null, ...]}``, null for an erased one."""
    services().peering.require_served(calling_peer())
    wanted = query(Range)
    return {"payloads": services().peering.payloads(wanted.first, wanted.limit)}


@bp.post("/peers/nudge")
@peer
def nudge() -> dict[str, Any]:
    """The peer's log has grown: the worker looks at once."""
    services().peering.nudged(calling_peer(), parse(Grown).size)
    return {}
