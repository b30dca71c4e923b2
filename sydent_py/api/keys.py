"""Published keys: users state which keys are theirs, and everybody reads and verifies it (docs/keys.md)."""

from typing import Any

from flask import Blueprint, request

from sydent_py import strict_json
from sydent_py.api.access import account, caller, public
from sydent_py.api.web import Parameters, client_network, parse, services
from sydent_py.errors import TooLarge

bp = Blueprint("keys", __name__, url_prefix="/_matrix/identity/unstable/sydent_py/keys")

# A statement in JSON that is not canonical may be longer; not by more than escapes and blanks make it.
MAX_STATEMENT_BYTES = 64 * 1024


class Users(Parameters):
    """Matrix user IDs."""

    users: list[str]


class HashedAddresses(Parameters):
    """Hashed addresses, as in a lookup."""

    algorithm: str
    pepper: str
    addresses: list[str]


class Nothing(Parameters):
    """No parameters."""


@bp.post("/challenge")
@account
def challenge() -> dict[str, Any]:
    """What the account's next statement must hold: challenge, place in the chain, name of the log."""
    parse(Nothing)
    return services().keys.statements.challenge(caller()).to_json()


@bp.put("/<path:user_id>")
@account
def publish(user_id: str) -> dict[str, Any]:
    """Publish, rotate or reset keys: the body is the statement."""
    receipt, counts_from_ms = services().keys.statements.publish(caller(), user_id, _statement())
    waits = {} if counts_from_ms is None else {"counts_from_ms": counts_from_ms}
    return {"receipt": receipt.to_json(), **waits}


@bp.post("/<path:user_id>/cancel")
@public
def cancel(user_id: str) -> dict[str, Any]:
    """Cancel a reset: the body is the statement, signed with the key that was to be replaced."""
    services().keys.spend("keys_per_network", client_network())
    return {"receipt": services().keys.statements.cancel(user_id, _statement()).to_json()}


@bp.delete("/<path:user_id>")
@account
def revoke(user_id: str) -> dict[str, Any]:
    """End the chain and erase it: the body is the statement."""
    services().keys.statements.revoke(caller(), user_id, _statement())
    return {}


@bp.get("/<path:user_id>")
@public
def show(user_id: str) -> dict[str, Any]:
    """The keys that count for a user, by origin, each with its proof."""
    services().keys.spend("keys_per_network", client_network())
    return services().keys.published.of(user_id)


@bp.get("/<path:user_id>/history")
@public
def history(user_id: str) -> dict[str, Any]:
    """All that a user has stated, by origin, each with its proof."""
    services().keys.spend("keys_per_network", client_network())
    return services().keys.published.history(user_id)


@bp.post("/query")
@public
def query_many() -> dict[str, Any]:
    """The keys that count for many users; those who have published none are left out."""
    services().keys.spend("keys_per_network", client_network())
    return {"users": services().keys.published.of_many(parse(Users).users)}


@bp.post("/lookup")
@account
def lookup() -> dict[str, Any]:
    """Users and their keys by hashed address."""
    body = parse(HashedAddresses)
    return {"mappings": services().keys.published.by_address(caller(), body.algorithm, body.pepper, body.addresses)}


def _statement() -> dict[str, Any]:
    body = request.get_data(cache=True)
    if len(body) > MAX_STATEMENT_BYTES:
        raise TooLarge("A statement has at most 4 KiB.")
    return strict_json.parse_object(body)
