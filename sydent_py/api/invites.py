"""Inviting addresses (Identity Service API, "Invitation storage" and "Ephemeral invitation signing")."""

import re
from typing import Annotated, Any

from flask import Blueprint
from pydantic import BeforeValidator, StringConstraints

from sydent_py.api.access import account, caller, public
from sydent_py.api.web import Parameters, ShortText, parse, query, services
from sydent_py.errors import Unrecognized
from sydent_py.identifiers import EMAIL, ThreePid, UserId
from sydent_py.invites.store import Invitation
from sydent_py.services import INVITE_SIGNING_PATH

bp = Blueprint("invites", __name__)

V2 = "/_matrix/identity/v2"
MAX_NAME_CHARACTERS = 255


def _optional(value: Any) -> Any:
    """Synapse sends an empty string for what a room does not have, others send null; a long name is cut, not refused."""
    return (value or "")[:MAX_NAME_CHARACTERS] if value is None or isinstance(value, str) else value


OptionalText = Annotated[str, BeforeValidator(_optional)]
# Since room version 12 a room ID has no domain.
RoomId = Annotated[str, StringConstraints(pattern=r"^![\x21-\x7e]{1,254}$")]
# An alias that could be read as something else, a web address for example, is not shown.
ALIAS = re.compile(r"#[0-9A-Za-z_+=-]{1,64}:[0-9A-Za-z.:\[\]-]{1,100}")


class InviteBody(Parameters):
    """Who is invited to what by whom."""

    medium: str
    address: str
    room_id: RoomId
    sender: str
    room_alias: OptionalText = ""
    room_name: OptionalText = ""
    room_type: OptionalText = ""
    sender_display_name: OptionalText = ""


class SignBody(Parameters):
    """Both secrets of an invitation's mail, and who accepts it."""

    mxid: str
    token: ShortText
    private_key: ShortText


@bp.post(f"{V2}/store-invite")
@account
def store_invite() -> dict[str, Any]:
    """``POST /store-invite``; homeservers of old read ``public_key``."""
    body = parse(InviteBody)
    if body.medium != EMAIL:
        raise Unrecognized("Only email addresses can be invited here.", status=400)
    invite = services().invites.store(
        caller(),
        Invitation(
            sender=body.sender,
            threepid=ThreePid.email(body.address),
            room_id=body.room_id,
            room_name=body.room_name,
            room_alias=body.room_alias if ALIAS.fullmatch(body.room_alias) else "",
            room_type=body.room_type,
            sender_name=body.sender_display_name,
        ),
    )
    is_valid = f"{services().public_base_url}{V2}/pubkey"
    return {
        "token": invite.token,
        "public_key": invite.server_key,
        "public_keys": [
            {"public_key": invite.server_key, "key_validity_url": f"{is_valid}/isvalid"},
            {"public_key": invite.ephemeral_key, "key_validity_url": f"{is_valid}/ephemeral/isvalid"},
        ],
        "display_name": invite.display_name,
    }


@bp.post(f"{V2}/sign-ed25519")
@account
def sign() -> dict[str, Any]:
    """``POST /sign-ed25519``"""
    body = parse(SignBody)
    return services().invites.sign(UserId.parse(body.mxid), body.token, body.private_key)


@bp.post(INVITE_SIGNING_PATH)
@public
def sign_by_link() -> dict[str, Any]:
    """The ``signurl`` of an invitation's mail, which client SDKs follow with a POST that has no body and no token."""
    body = query(SignBody)
    return services().invites.sign.follow(UserId.parse(body.mxid), body.token, body.private_key)
