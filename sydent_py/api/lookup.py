"""Hash details and lookups (Identity Service API, "Association lookup")."""

from typing import Any

from flask import Blueprint

from sydent_py.api.access import account, account_by_query, caller
from sydent_py.api.web import Parameters, parse, services

bp = Blueprint("lookup", __name__, url_prefix="/_matrix/identity/v2")


class LookupQuery(Parameters):
    """Hashed addresses, and how they were hashed."""

    algorithm: str
    pepper: str
    addresses: list[str]


@bp.get("/hash_details")
@account_by_query
def hash_details() -> dict[str, Any]:
    """``GET /hash_details``"""
    pepper, algorithms = services().hash_details()
    return {"lookup_pepper": pepper, "algorithms": algorithms}


@bp.post("/lookup")
@account
def lookup() -> dict[str, Any]:
    """``POST /lookup``"""
    body = parse(LookupQuery)
    return {"mappings": services().lookup(caller(), body.algorithm, body.pepper, body.addresses)}
