"""Following a stopped peer again from where it was stopped."""

from typing import Any

from sqlalchemy import Connection

from sydent_py.replication import models
from sydent_py.replication.anew import UNFINISHED
from sydent_py.replication.peers import Peer


class NotResumed(Exception):
    """The peer is not followed on; the message says why, and what to do instead."""


def resume(db: Connection, peer: Peer) -> None:
    """Follow a stopped peer on from the first entry that was not taken over; ``NotResumed``.

    The evidence stays on record, and a peer that shows the same fault once more is stopped at once.
    """
    state: Any = models.state(db, peer.name)
    if refusal := _refusal(peer, state):
        raise NotResumed(f"{peer.name} is not resumed: {refusal}")
    if not models.resume(db, peer.name, state.error):
        raise NotResumed(f"{peer.name} is not resumed: somebody else has just said otherwise. See: sydent-py peers list")


def _refusal(peer: Peer, state: Any) -> str:
    """Why the peer cannot be followed on, and what to do; empty where it can."""
    anew = f"sydent-py peers resync {peer.name}"
    if not peer.is_followed:
        return 'it is not followed, because of direction = "serve".'
    if state is None or not state.is_stopped:
        return "it was not stopped. If something is wrong with it, sydent-py peers check says what to do."
    if state.error == UNFINISHED:
        return f"what it said is half forgotten, because a resync was cut short. Go on with that: {anew}"
    if state.log_key != str(peer.log_key):
        return (
            f"the log that was followed is not that of the log_key in the configuration. To begin with the new one: {anew}"
        )
    if state.scope != peer.scope_text:
        return f"its scope was changed, so that its log has to be read from the first entry: {anew}"
    return ""
