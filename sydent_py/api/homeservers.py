"""What homeservers ask of this server, and how they find and verify it."""

from dataclasses import asdict
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from flask import Blueprint
from pydantic import Field, StringConstraints

import sydent_py
from sydent_py.api.access import calling_homeserver, calling_trusted_homeserver, homeserver, public, trusted_homeserver
from sydent_py.api.bindings import ThreePidBody
from sydent_py.api.web import Parameters, ShortText, attempt, item, parse, services
from sydent_py.errors import InvalidParam, MatrixError
from sydent_py.homeservers.changes import Change
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.keys.canonical import decode_base64
from sydent_py.keys.statement import KEY_BYTES

bp = Blueprint("homeservers", __name__)

HTTPS_PORT = 443
KEY_LIFETIME_MS = 86_400_000
MAX_CHANGES = 200
MAX_LOOKUPS = 500
MAX_KEYS = 200

OWN = "/_matrix/identity/unstable/sydent_py/homeserver"


class ChangeBody(Parameters):
    """An address that was added to a user or taken from one, at ``ts`` (ms)."""

    action: Literal["bind", "unbind"]
    medium: str
    address: str
    mxid: str
    ts: int = Field(ge=0)
    seq: int


class ChangesBody(Parameters):
    """Changes, each of which is read by itself: one that cannot be read refuses no other."""

    changes: list[Any] = Field(min_length=1, max_length=MAX_CHANGES)


class PageBody(Parameters):
    """Some buckets of a digest, and where a page of their bindings begins."""

    buckets: list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2}$")]] = Field(max_length=256)
    after: ShortText = ""


class InvitesBody(ThreePidBody):
    """An address, and the user whose it is."""

    mxid: str


class AddressesBody(Parameters):
    """Addresses to look up."""

    addresses: list[ThreePidBody] = Field(min_length=1, max_length=MAX_LOOKUPS)


class KeysBody(Parameters):
    """The public master keys that the homeserver serves, in unpadded base64, by user."""

    keys: dict[str, str] = Field(min_length=1, max_length=MAX_KEYS)


class RevokeBody(Parameters):
    """The token of an invitation: the state key of its ``m.room.third_party_invite``."""

    token: ShortText


@bp.post(f"{OWN}/status")
@trusted_homeserver
def show_status() -> dict[str, Any]:
    """What the calling homeserver may do here."""
    trusted = calling_trusted_homeserver()
    return {
        "server_name": services().server_name,
        "version": sydent_py.__version__,
        "now_ms": services().clock.now_ms(),
        "media": trusted.media,
        "domains": trusted.domains,
        "lookups": trusted.lookups,
    }


@bp.post(f"{OWN}/bindings")
@trusted_homeserver
def change_bindings() -> dict[str, Any]:
    """Bind and unbind addresses of the calling homeserver's users: what became of each, in order, and how it is spelled here."""
    changes = [attempt(_change, each) for each in parse(ChangesBody).changes]
    results = services().homeservers.change(calling_trusted_homeserver(), changes)
    return {"results": [_result(change, result) for change, result in zip(changes, results, strict=True)]}


@bp.post(f"{OWN}/digest")
@trusted_homeserver
def digest() -> dict[str, Any]:
    """The bindings that the calling homeserver has made and that still stand, in brief."""
    buckets = services().homeservers.reconcile.digest(calling_trusted_homeserver())
    count = sum(bucket.count for bucket in buckets.values())
    return {"count": count, "buckets": {name: asdict(bucket) for name, bucket in buckets.items()}}


@bp.post(f"{OWN}/bindings/list")
@trusted_homeserver
def list_bindings() -> dict[str, Any]:
    """Those of them in some buckets, a page at a time; ``next`` is the ``after`` of the next page, or empty."""
    body = parse(PageBody)
    page = services().homeservers.reconcile.page(calling_trusted_homeserver(), frozenset(body.buckets), body.after)
    return {"bindings": [_mapping(each.threepid, each.user_id) for each in page.bindings], "next": page.next}


@bp.post(f"{OWN}/invites")
@trusted_homeserver
def waiting_invites() -> dict[str, Any]:
    """The invitations that wait for an address of one of the calling homeserver's users."""
    body = parse(InvitesBody)
    threepid, user = ThreePid.parse(body.medium, body.address), UserId.parse(body.mxid)
    return {"invites": services().homeservers.invites(calling_trusted_homeserver(), threepid, user)}


@bp.post(f"{OWN}/lookup")
@trusted_homeserver
def lookup() -> dict[str, Any]:
    """Whose addresses are, of those that are anybody's, as they were typed."""
    asked = parse(AddressesBody).addresses
    read = [attempt(_threepid, each) for each in asked]
    threepids = [each if isinstance(each, ThreePid) else None for each in read]
    found = services().homeservers.lookup(calling_trusted_homeserver(), threepids)
    return {"mappings": [{**each.model_dump(), "mxid": mxid} for each, mxid in zip(asked, found, strict=True) if mxid]}


@bp.post(f"{OWN}/keys/compare")
@trusted_homeserver
def compare_keys() -> dict[str, Any]:
    """How the master keys of the calling homeserver's users stand to those that they have published."""
    masters = {UserId.parse(user_id): _master(key) for user_id, key in parse(KeysBody).keys.items()}
    return {"users": services().homeservers.compare_keys(calling_trusted_homeserver(), masters)}


@bp.post(f"{OWN}/revoke-invite")
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


def _master(text: str) -> bytes:
    key = decode_base64(text, KEY_BYTES)
    if key is None:
        raise InvalidParam("keys: each is an Ed25519 key of 32 bytes in unpadded base64.")
    return key


def _change(value: Any) -> Change:
    body = item(ChangeBody, value)
    threepid, user = ThreePid.parse(body.medium, body.address), UserId.parse(body.mxid)
    return Change(body.action, threepid, user, body.ts, body.seq)


def _threepid(body: ThreePidBody) -> ThreePid:
    return ThreePid.parse(body.medium, body.address)


def _result(change: Change | MatrixError, result: str | MatrixError) -> dict[str, Any]:
    if isinstance(result, MatrixError):
        return {"status": "refused", **result.to_json()}
    assert isinstance(change, Change)
    return {"status": result, "address": change.threepid.address}


def _mapping(threepid: ThreePid, user_id: str) -> dict[str, str]:
    return {"medium": threepid.medium, "address": threepid.address, "mxid": user_id}
