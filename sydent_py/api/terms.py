"""Terms of service (Identity Service API, "Terms of service")."""

from typing import Any

from flask import Blueprint

from sydent_py.api.access import account_without_terms, caller, public
from sydent_py.api.web import Parameters, parse, services

bp = Blueprint("terms", __name__, url_prefix="/_matrix/identity/v2/terms")


class Acceptance(Parameters):
    """The policies a user has just accepted, by URL."""

    user_accepts: list[str]


@bp.get("")
@public
def get_terms() -> dict[str, Any]:
    """``GET /terms``"""
    return services().accounts.terms.policies


@bp.post("")
@account_without_terms
def accept_terms() -> dict[str, Any]:
    """``POST /terms``"""
    services().accounts.terms.accept(caller(), parse(Acceptance).user_accepts)
    return {}
