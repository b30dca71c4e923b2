"""The page at ``/``: who runs this server, its policies, its keys, its log, and how to verify it."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from flask import Response

from sydent_py.api.access import public
from sydent_py.api.bindings import OWN
from sydent_py.api.web import services
from sydent_py.pages import page

# No link leads here from a mail, so that no advice about one fits.
bp = page.blueprint("front", problems={})

# The log may grow five times a second, and nobody waits for its newest checkpoint on this page.
FRESH = "public, max-age=60"


@bp.get("/")
@public
def show() -> Response:
    """What everybody may know about the server."""
    shown = page.render(
        "front.html",
        base_url=services().public_base_url,
        api_path=page.published(OWN),
        has_phones=bool(services().sms.allowed_countries),
        operator=_operator(),
        policies=_policies(),
        signing_keys=_signing_keys(),
        log=_log(),
        peers=_peers(),
    )
    return Response(shown, mimetype="text/html", headers={"Cache-Control": FRESH})


def _operator() -> dict[str, str]:
    name, contact = services().operator.name, services().operator.contact
    is_mailbox = bool(contact) and not contact.startswith("https://")
    return {"name": name, "contact": contact, "link": f"mailto:{quote(contact, safe='@')}" if is_mailbox else contact}


def _policies() -> list[dict[str, Any]]:
    """The policies, each in its languages; what is no URL of a web page is no link."""
    return [
        {
            "version": policy.version,
            "translations": [
                {"language": language, "name": each.name, "link": each.url if _is_web_page(each.url) else ""}
                for language, each in policy.translations.items()
            ],
        }
        for policy in services().accounts.terms.file.policies.values()
    ]


def _is_web_page(url: str) -> bool:
    return url.lower().startswith(("https://", "http://"))


def _signing_keys() -> list[dict[str, str]]:
    """The keys of associations, the one that signs first."""
    signer = services().signer
    pairs = zip(signer.key_ids, signer.public_keys, strict=True)
    return [{"id": key_id, "public_key": public_key} for key_id, public_key in pairs]


def _log() -> dict[str, Any]:
    """The log at its newest checkpoint."""
    published = services().published_log
    status = published.status()
    return {
        "name": status.checkpoint.origin,
        "vkey": str(published.verifier_key),
        "url": f"{services().public_base_url}{OWN}/log",
        "path": page.published(f"{OWN}/log"),
        "size": status.checkpoint.size,
        "signed_at": datetime.fromtimestamp(status.published_at_ms // 1000, UTC),
        "checkpoint": status.note,
    }


def _peers() -> list[dict[str, Any]]:
    """The peers, and how far each is followed."""
    return [
        {
            "name": peer.name,
            "is_followed": peer.is_followed,
            "is_served": peer.is_served,
            "is_stopped": peer.state == "stopped",
            "size": peer.entries,
            "verified_at": _moment(peer.verified_at_ms),
        }
        for peer in services().peering.status.standings()
    ]


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms // 1000, UTC)
