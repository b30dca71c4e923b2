"""What an entry of a peer's log says, and whether the peer may say it; with no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from canonicaljson import encode_canonical_json
from nacl.exceptions import CryptoError
from unpaddedbase64 import decode_base64

from sydent_py.bindings.register import Claim, Retraction
from sydent_py.clock import DAY_MS
from sydent_py.errors import MatrixError
from sydent_py.identifiers import EMAIL, ThreePid, UserId
from sydent_py.keys.register import Stated
from sydent_py.keys.statement import RESET, REVOKE, Malformed, Statement
from sydent_py.log.append import MAX_PAYLOAD_BYTES
from sydent_py.log.leaf import COMMITMENT_BYTES, MAX_TS, Leaf
from sydent_py.peer_settings import Scope
from sydent_py.replication.peers import Peer

# How far ahead of our clock a peer's may be.
AHEAD_MS = 5 * 60_000
# What is further ahead than that, but not by more than this, is waited for: who puts it aside loses it for good.
NEAR_MS = DAY_MS
MAX_ERASED = 1000
# How long an entry may wait for its place in a log whose sequencer is down.
BACK_MS = DAY_MS


class Unacceptable(ValueError):
    """The entry is not taken over; the message says why, and names no address.

    ``retracts`` is an address that the origin has nevertheless taken from whoever had it.
    """

    def __init__(self, reason: str, retracts: ThreePid | None = None) -> None:
        super().__init__(reason)
        self.retracts = retracts


class NotYet(Exception):
    """The entry is from the near future: one of two clocks is wrong, or will be right in a moment."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """These entries of the log have no payload any more, and what came of them goes too."""

    commitments: tuple[bytes, ...]
    ts: int


Said = Claim | Retraction | Erasure | Stated


@dataclass(frozen=True, slots=True)
class Opened:
    """An entry with what it commits to: ``encoded`` is the canonical JSON of ``payload``."""

    index: int
    leaf: Leaf
    nonce: bytes
    payload: Mapping[str, Any]
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, and when the log was known to have none of the entries that are read, in ms since the epoch; None where it never was."""

    now_ms: int
    whole_at_ms: int | None


def read(peer: Peer, opened: Opened, moment: Moment) -> Said:
    """What the entry says; ``Unacceptable``, ``NotYet``.

    What takes back is heard whenever and of whomever it is: it wins against nobody.
    """
    leaf, payload, now_ms = opened.leaf, opened.payload, moment.now_ms
    if leaf.kind not in peer.scope.kinds:
        raise Unacceptable(f"the peer may not send entries of the kind {leaf.kind}")
    _check_signature(peer, payload)
    if leaf.kind == "erase":
        return Erasure(_commitments(payload), _seen_ms(leaf.ts, moment))
    if leaf.kind in ("key", "key_revoke"):
        return _stated(peer, opened, moment)
    threepid, user = _threepid(payload), user_in(payload)
    if leaf.kind == "unbind":
        return Retraction(threepid)
    claim = Claim(threepid, str(user), **_times(leaf, payload, now_ms), commitment=leaf.commitment)
    check_scope(peer.scope, threepid, user)
    return claim


def _stated(peer: Peer, opened: Opened, moment: Moment) -> Stated:
    """The statement of keys; whether it continues its chain is for the register to say."""
    leaf, payload = opened.leaf, opened.payload
    try:
        statement = Statement.parse(payload.get("statement"))
    except Malformed as error:
        raise Unacceptable(f"it holds no statement of keys: {error}") from error
    if not _is_bare(peer, opened):
        raise Unacceptable("it holds more than a statement, whose it is, and the signature of the peer")
    user = user_in(payload)
    if str(user) != statement.user_id or (statement.op == REVOKE) is not (leaf.kind == "key_revoke"):
        raise Unacceptable("what it says of itself is not what its statement says")
    if peer.scope.homeservers and user.server.text not in peer.scope.homeservers:
        raise Unacceptable("the peer may not speak for users of that homeserver")
    _check_ahead(leaf.ts - moment.now_ms)
    if statement.op == RESET and leaf.ts < _seen_ms(leaf.ts, moment):
        raise Unacceptable("it is a reset that is dated back")
    return Stated(statement, leaf.ts, leaf.commitment, opened.nonce, opened.encoded, opened.index)


def _is_bare(peer: Peer, opened: Opened) -> bool:
    """Whether a payload, which is kept and shown to everybody as it is, holds nothing that need not be shown."""
    signatures = opened.payload["signatures"]
    return (
        len(opened.encoded) <= MAX_PAYLOAD_BYTES
        and set(opened.payload) == {"mxid", "statement", "signatures"}
        and set(signatures) == {peer.name}
        and all(isinstance(signature, str) for signature in signatures[peer.name].values())
    )


def _seen_ms(ts: int, moment: Moment) -> int:
    """From when on those who can object have had the time to, in ms since the epoch.

    Who replaces keys without having the old one waits: a log cannot say that it has waited before anybody could see it.
    """
    earliest_ms = 0 if moment.whole_at_ms is None else moment.whole_at_ms - BACK_MS
    return max(min(ts, moment.now_ms), earliest_ms)


def _check_ahead(ahead_ms: int) -> None:
    if ahead_ms > NEAR_MS:
        raise Unacceptable("it is from the future")
    if ahead_ms > AHEAD_MS:
        raise NotYet


def _times(leaf: Leaf, payload: Mapping[str, Any], now_ms: int) -> dict[str, int]:
    """When a claim was made, begins and ends; a claim from the future would win against all others until then."""
    times = {name: time_in(payload, name) for name in ("ts", "not_before", "not_after")}
    _check_ahead(max(leaf.ts, times["ts"], times["not_before"]) - now_ms)
    return times


def time_in(payload: Mapping[str, Any], name: str) -> int:
    """A time in ms since the epoch; ``Unacceptable``."""
    value = payload.get(name)
    if type(value) is not int or not 0 <= value <= MAX_TS:
        raise Unacceptable(f"it has no {name}")
    return value


def _check_signature(peer: Peer, payload: Mapping[str, Any]) -> None:
    signatures = payload.get("signatures")
    ours = signatures.get(peer.name) if isinstance(signatures, dict) else None
    if not isinstance(ours, dict):
        raise Unacceptable("it has no signature of the peer")
    content = {name: value for name, value in payload.items() if name not in {"signatures", "unsigned"}}
    try:
        message = encode_canonical_json(content)
        for key_id, signature in ours.items():
            if key_id in peer.keys:
                peer.keys[key_id].verify(message, decode_base64(signature))
                return
    except (CryptoError, ValueError, TypeError, AttributeError) as error:
        raise Unacceptable("its signature is not valid") from error
    raise Unacceptable("it is signed with a key that is not pinned")


def _commitments(payload: Mapping[str, Any]) -> tuple[bytes, ...]:
    erased = payload.get("erased")
    if not isinstance(erased, list) or not 0 < len(erased) <= MAX_ERASED:
        raise Unacceptable("it does not say what is erased")
    try:
        commitments = tuple(map(decode_base64, erased))
    except (ValueError, TypeError, AttributeError) as error:
        raise Unacceptable("it does not say what is erased") from error
    if any(len(each) != COMMITMENT_BYTES for each in commitments):
        raise Unacceptable("it does not say what is erased")
    return commitments


def _threepid(payload: Mapping[str, Any]) -> ThreePid:
    medium, address = payload.get("medium"), payload.get("address")
    try:
        threepid = ThreePid.parse(str(medium), str(address))
    except MatrixError as error:
        raise Unacceptable("it has no valid address") from error
    if (threepid.medium, threepid.address) != (medium, address):
        raise Unacceptable("its address is not in the canonical form")
    return threepid


def user_in(payload: Mapping[str, Any]) -> UserId:
    """Whose the address is said to be; ``Unacceptable``."""
    mxid = payload.get("mxid")
    try:
        return UserId.parse(mxid if isinstance(mxid, str) else "")
    except MatrixError as error:
        raise Unacceptable("it has no valid Matrix user ID") from error


def check_scope(scope: Scope, threepid: ThreePid, user: UserId) -> None:
    """Raise ``Unacceptable`` for what the peer may not say; it takes the address from whoever had it all the same."""
    domain = threepid.address.rpartition("@")[2]
    if threepid.medium not in scope.media:
        raise Unacceptable(f"the peer may not speak for {threepid.medium}", threepid)
    if scope.homeservers and user.server.text not in scope.homeservers:
        raise Unacceptable("the peer may not speak for users of that homeserver", threepid)
    if scope.domains and (threepid.medium != EMAIL or domain not in scope.domains):
        raise Unacceptable("the peer may not speak for addresses of that domain", threepid)
