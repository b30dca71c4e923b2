"""Registration and tokens (Identity Service API, "Authentication")."""

from typing import Any

from flask import Blueprint

from sydent_py.api.access import access_token, account, account_without_terms, caller, public
from sydent_py.api.web import Parameters, client_network, parse, services
from sydent_py.identifiers import ServerName

bp = Blueprint("account", __name__, url_prefix="/_matrix/identity/v2/account")


class OpenIdToken(Parameters):
    """What a homeserver's ``openid/request_token`` gave the client."""

    access_token: str
    matrix_server_name: str


@bp.post("/register")
@public
def register() -> dict[str, str]:
    """``POST /account/register``; older clients read ``access_token``."""
    body = parse(OpenIdToken)
    server = ServerName.parse(body.matrix_server_name)
    token = services().accounts.register(server, body.access_token, client_network())
    return {"token": token, "access_token": token}


@bp.get("")
@account
def get_account() -> dict[str, str]:
    """``GET /account``"""
    return {"user_id": str(caller())}


@bp.post("/logout")
@account_without_terms
def logout() -> dict[str, Any]:
    """``POST /account/logout``, the one POST that needs no body."""
    services().accounts.tokens.revoke(access_token())
    return {}
