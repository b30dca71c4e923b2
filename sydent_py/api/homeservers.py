"""What homeservers ask of this server, and how they find and verify it."""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint

from sydent_py.api.access import calling_homeserver, homeserver, public
from sydent_py.api.web import Parameters, ShortText, parse, services

bp = Blueprint("homeservers", __name__)

HTTPS_PORT = 443
KEY_LIFETIME_MS = 86_400_000


class RevokeBody(Parameters):
    """The token of an invitation: the state key of its ``m.room.third_party_invite``."""

    token: ShortText


@bp.post("/_matrix/identity/unstable/sydent_py/homeserver/revoke-invite")
@homeserver
def revoke_invite() -> dict[str, Any]:
    """End an invitation that a user of the calling homeserver sent. One that is not there is revoked already."""
    origin = calling_homeserver()
    assert origin is not None
    services().invites.stored.revoke(origin, parse(RevokeBody).token)
    return {}


@bp.get("/_matrix/key/v2/server")
@public
def server_keys() -> dict[str, Any]:
    """The key this server signs its requests to homeservers with (Server-Server API, "Publishing Keys")."""
    signer = services().signer
    return signer.sign(
        {
            "server_name": signer.server_name,
            "verify_keys": {signer.key_id: {"key": signer.public_keys[0]}},
            "old_verify_keys": {},
            "valid_until_ts": services().clock.now_ms() + KEY_LIFETIME_MS,
        }
    )


@bp.get("/.well-known/matrix/server")
@public
def well_known() -> dict[str, str]:
    """Where homeservers find those keys, when the name has no port (Server-Server API, "Server discovery")."""
    url = urlsplit(services().public_base_url)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return {"m.server": f"{host}:{url.port or HTTPS_PORT}"}
