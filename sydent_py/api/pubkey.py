"""The keys this server signs with (Identity Service API, "Key management")."""

from flask import Blueprint

from sydent_py.api.access import public
from sydent_py.api.web import Parameters, query, services

bp = Blueprint("pubkey", __name__, url_prefix="/_matrix/identity/v2/pubkey")


class PublicKeyQuery(Parameters):
    """A public key in base64."""

    public_key: str


@bp.get("/isvalid")
@public
def is_valid() -> dict[str, bool]:
    """``GET /pubkey/isvalid``"""
    return {"valid": services().signer.owns(query(PublicKeyQuery).public_key)}


@bp.get("/ephemeral/isvalid")
@public
def is_ephemeral_valid() -> dict[str, bool]:
    """``GET /pubkey/ephemeral/isvalid``"""
    return {"valid": services().invites.sign.is_valid(query(PublicKeyQuery).public_key)}


@bp.get("/<key_id>")
@public
def get_public_key(key_id: str) -> dict[str, str]:
    """``GET /pubkey/{keyId}``"""
    return {"public_key": services().signer.public_key(key_id)}
