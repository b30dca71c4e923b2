"""Invitations by address that users of this homeserver have sent, as its own tables tell of them."""

import json
from dataclasses import dataclass
from typing import Any

from sydent_py.synapse import errands
from sydent_py.synapse.binding import Binding
from sydent_py.synapse.tables import Txn

EVENT_TYPE = "m.room.third_party_invite"

# Events looked through at once.
WINDOW = 10_000


def forget(txn: Txn, before_ms: int) -> None:
    """Forget the invitations from before then."""
    txn.execute("DELETE FROM sydent_py_invites WHERE created_ts < ?", (before_ms,))


def sent(txn: Txn, now_ms: int, binding: Binding, room_id: str) -> None:
    """An invitation to this address is about to be sent to the room, by this user."""
    txn.execute(
        "INSERT INTO sydent_py_invites (medium, address, room_id, inviter, created_ts, token) VALUES (?, ?, ?, ?, ?, NULL)",
        (binding.medium, binding.address, room_id, binding.user_id, now_ms),
    )


def sent_by(txn: Txn, inviter: str, since_ms: int) -> int:
    """How many ``inviter`` has sent."""
    txn.execute("SELECT COUNT(*) FROM sydent_py_invites WHERE inviter = ? AND created_ts >= ?", (inviter, since_ms))
    return int(txn.fetchone()[0])


def is_invited(txn: Txn, medium: str, address: str, since_ms: int) -> bool:
    """Whether an invitation to the address is in a room, and was not revoked."""
    txn.execute(
        "SELECT 1 FROM sydent_py_invites WHERE medium = ? AND address = ? AND created_ts >= ? AND token IS NOT NULL",
        (medium, address, since_ms),
    )
    return txn.fetchone() is not None


@dataclass(frozen=True)
class Following:
    """Whose invitations are followed; with ``revoke``, the identity server at this URL is told of those it knows.

    What was in the database before ``beginning``, when the module was loaded for the first time, is not looked at.
    """

    beginning: int
    server_name: str
    identity_server: str
    revoke: bool


def follow(txn: Txn, up_to: int, following: Following) -> int:
    """Look through the changes of rooms' states since the last time, up to ``up_to``: how many invitations were revoked."""
    txn.execute("SELECT value FROM sydent_py_state WHERE name = 'followed'")
    row = txn.fetchone()
    after = int(row[0]) if row else following.beginning
    up_to = min(up_to, after + WINDOW)
    revoked = 0
    for room_id, token, event, before in _changes(txn, after, up_to):
        if event.get("content"):
            _match(txn, room_id, token, str(event.get("sender")))
            continue
        txn.execute("DELETE FROM sydent_py_invites WHERE room_id = ? AND token = ?", (room_id, token))
        if following.revoke and _is_ours(before, following):
            errands.add(txn, errands.REVOKE, token, {})
            revoked += 1
    if row is None or up_to > after:
        txn.execute(
            "INSERT INTO sydent_py_state (name, value) VALUES ('followed', ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(up_to),),
        )
    return revoked


def _changes(txn: Txn, after: int, up_to: int) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Room, token, and the invitation's event now and before."""
    txn.execute(
        "SELECT d.room_id, d.state_key, e.json, p.json FROM current_state_delta_stream AS d"
        " LEFT JOIN event_json AS e ON e.event_id = d.event_id"
        " LEFT JOIN event_json AS p ON p.event_id = d.prev_event_id"
        " WHERE d.stream_id > ? AND d.stream_id <= ? AND d.type = ? ORDER BY d.stream_id",
        (after, up_to, EVENT_TYPE),
    )
    return [(room_id, token, _event(now), _event(before)) for room_id, token, now, before in txn.fetchall()]


def _event(text: str | None) -> dict[str, Any]:
    event = json.loads(text) if text else {}
    return event if isinstance(event, dict) else {}


def _match(txn: Txn, room_id: str, token: str, sender: str) -> None:
    """Give the token to the oldest invitation of its sender to this room that has none."""
    txn.execute(
        "SELECT medium, address, created_ts FROM sydent_py_invites"
        " WHERE room_id = ? AND inviter = ? AND token IS NULL ORDER BY created_ts LIMIT 1",
        (room_id, sender),
    )
    row = txn.fetchone()
    if row:
        txn.execute(
            "UPDATE sydent_py_invites SET token = ?"
            " WHERE medium = ? AND address = ? AND created_ts = ? AND room_id = ? AND inviter = ? AND token IS NULL",
            (token, *row, room_id, sender),
        )


def _is_ours(event: dict[str, Any], following: Following) -> bool:
    """Whether a user of this homeserver has sent the invitation, through this identity server."""
    content = event.get("content") or {}
    keys = [content, *(content.get("public_keys") or [])]
    urls = [key.get("key_validity_url") for key in keys if isinstance(key, dict)]
    is_from_here = str(event.get("sender", "")).partition(":")[2] == following.server_name
    return is_from_here and any(isinstance(url, str) and url.startswith(f"{following.identity_server}/") for url in urls)
