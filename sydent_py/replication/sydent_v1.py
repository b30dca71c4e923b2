"""What Sydent servers push to each other, in version 1 of their format; with no I/O."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from canonicaljson import encode_canonical_json
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from sydent_py.bindings.register import Claim, Retraction
from sydent_py.errors import BadJson, MatrixError, NotJson
from sydent_py.identifiers import ThreePid
from sydent_py.peer_settings import Scope
from sydent_py.replication.entries import AHEAD_MS, Unacceptable, check_scope, time_in, user_in
from sydent_py.strict_json import parse_object

PATH = "/_matrix/identity/replicate/v1/push"
# Sydent believes no key of another name.
KEY_ID = "ed25519:0"
# With anything behind it, Sydent takes the body for something else.
CONTENT_TYPE = "application/json"
# Of our log, in one push. Sydent sends 100 rows at once, and an entry makes two at most.
ENTRIES_PER_PUSH = 50

_ID = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_MAX_ID = 2**63 - 1
_TIMES = ("ts", "not_before", "not_after")


@dataclass(frozen=True)
class SydentPeer:
    """A peer that runs Sydent: its certificate's common name, the key it signs with, and whom and what it may speak for."""

    name: str
    key_id: str
    key: VerifyKey
    scope: Scope


@dataclass(frozen=True, slots=True)
class Row:
    """What was pushed under one of the origin's row ids; ``content`` is None where it is nothing that could be kept."""

    id: int
    content: dict[str, Any] | None


class NotTaken(Unacceptable):
    """The row is the peer's own word, but not for us to repeat: whatever it said of ``threepid`` before, it says no more."""

    def __init__(self, reason: str, threepid: ThreePid) -> None:
        super().__init__(reason)
        self.threepid = threepid


def parse(body: bytes) -> list[Row]:
    """The rows of a push, in the order of their ids.

    ``NotJson``, and ``BadJson`` where it is not an object with an object ``sgAssocs``, whose keys are the ids. What is wrong with one
    row alone is not told here: users choose part of what a row holds, and one of them must not keep back the others.
    """
    associations = _load(body).get("sgAssocs")
    if not isinstance(associations, dict):
        raise BadJson("sgAssocs must be an object.")
    if not all(_ID.fullmatch(key) and int(key) <= _MAX_ID for key in associations):
        raise BadJson("The keys of sgAssocs must be the ids of rows, in decimal.")
    return [Row(int(key), _strict(associations[key])) for key in sorted(associations, key=int)]


def _load(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise NotJson from error
    if not isinstance(value, dict):
        raise BadJson
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadJson("The request body gives a key twice.")
    return value


def _strict(content: Any) -> dict[str, Any] | None:
    """The row under the rules for all JSON from outside."""
    try:
        return parse_object(json.dumps(content).encode())
    except (MatrixError, RecursionError):
        return None


def read(peer: SydentPeer, row: Row, now_ms: int) -> Claim | Retraction:
    """What a row says; ``Unacceptable``, or ``NotTaken`` where it is signed all the same."""
    content = row.content
    if content is None:
        raise Unacceptable("it is no JSON object that can be kept")
    _check_signature(peer, content)
    threepid = _threepid(content)
    if content.get("mxid") is None:
        # Where and when it may speak is not asked: it takes back its own word alone.
        if "unbind" not in peer.scope.kinds:
            raise Unacceptable("the peer may not send rows of the kind unbind")
        return Retraction(threepid)
    try:
        return _claim(peer.scope, threepid, content, now_ms)
    except Unacceptable as refusal:
        raise NotTaken(str(refusal), threepid) from refusal


def _claim(scope: Scope, threepid: ThreePid, content: Mapping[str, Any], now_ms: int) -> Claim:
    if "bind" not in scope.kinds:
        raise Unacceptable("the peer may not send rows of the kind bind")
    user = user_in(content)
    check_scope(scope, threepid, user)
    times = {name: time_in(content, name) for name in _TIMES}
    if max(times["ts"], times["not_before"]) > now_ms + AHEAD_MS:
        raise Unacceptable("it is from the future")
    return Claim(threepid, str(user), commitment=None, **times)


def _check_signature(peer: SydentPeer, content: Mapping[str, Any]) -> None:
    signatures = content.get("signatures")
    of_peer = signatures.get(peer.name) if isinstance(signatures, dict) else None
    signature = of_peer.get(peer.key_id) if isinstance(of_peer, dict) else None
    if not isinstance(signature, str):
        raise Unacceptable(f"it has no signature of the peer with the key {peer.key_id}")
    try:
        peer.key.verify(encode_canonical_json(_unsigned(content)), decode_base64(signature))
    except (CryptoError, ValueError, TypeError) as error:
        raise Unacceptable("its signature is not valid") from error


def _unsigned(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in {"signatures", "unsigned"}}


def _threepid(content: Mapping[str, Any]) -> ThreePid:
    """The address in our form: Sydent lower-cases email addresses today, and has not always; domains it leaves as they are."""
    medium, address = content.get("medium"), content.get("address")
    if not isinstance(medium, str) or not isinstance(address, str):
        raise Unacceptable("it has no valid address")
    try:
        threepid = ThreePid.parse(medium, address)
    except MatrixError as error:
        raise Unacceptable("it has no valid address") from error
    if address.lower() not in threepid.spellings:
        raise Unacceptable("its address is not in the canonical form")
    return threepid


def rows_of(index: int, kind: str, payload: Mapping[str, Any]) -> list[Row]:
    """What an entry of our log tells a Sydent, unsigned: two row ids belong to each entry, and nothing to one of another kind.

    Before a binding comes a removal: a Sydent keeps every binding of an address, and a lookup there may answer with any of them.
    """
    first, second = 2 * index + 1, 2 * index + 2
    if kind == "bind":
        binding = {name: payload[name] for name in ("medium", "address", "mxid", *_TIMES)}
        return [Row(first, _removal(payload)), Row(second, binding)]
    return [Row(second, _removal(payload))] if kind == "unbind" else []


def _removal(payload: Mapping[str, Any]) -> dict[str, Any]:
    """It names nobody."""
    nobody = {"mxid": None, "not_before": None, "not_after": None}
    return {"medium": payload["medium"], "address": payload["address"], "ts": payload["ts"], **nobody}


def write(rows: Sequence[Row]) -> bytes:
    """A push of signed rows, in their order."""
    return json.dumps({"sgAssocs": {str(row.id): row.content for row in rows}}).encode()
