"""Taking over what a Sydent peer pushes: the good rows in one transaction, the others put aside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from canonicaljson import encode_canonical_json
from sqlalchemy import Connection

from sydent_py.bindings.register import AddressRegister, Change, Displaced, Retraction
from sydent_py.clock import Clock
from sydent_py.database import Database, lock
from sydent_py.errors import Forbidden, MatrixError, Unknown, Unrecognized
from sydent_py.federation.mutual_tls import Received
from sydent_py.replication import sydent_models as models
from sydent_py.replication import sydent_v1
from sydent_py.replication.entries import Unacceptable
from sydent_py.replication.sydent_v1 import NotTaken, Row, SydentPeer
from sydent_py.sealing import Sealer

# Of a row that is put aside. The longest that could be taken over is far below.
MAX_KEPT_BYTES = 8192

log = structlog.get_logger(__name__)


class UnknownPeer(Forbidden):
    """``M_UNKNOWN_PEER``"""

    errcode = "M_UNKNOWN_PEER"
    default_message = "The common name of your certificate is not that of a peer of this server."


@dataclass(frozen=True, slots=True)
class _Good:
    row_id: int
    change: Change


@dataclass(frozen=True, slots=True)
class _Bad:
    row: Row
    reason: str
    retraction: Retraction | None


@dataclass
class _Push:
    """A push as it was read."""

    good: list[_Good] = field(default_factory=list)
    bad: list[_Bad] = field(default_factory=list)

    def forget(self, known: set[int]) -> None:
        """Leave out what was taken over before, whatever it says now."""
        self.good = [each for each in self.good if each.row_id not in known]
        self.bad = [each for each in self.bad if each.row.id not in known]

    def said(self) -> list[tuple[int, Change]]:
        """Every change with the id of its row, in order."""
        taken_back = [(each.row.id, each.retraction) for each in self.bad if each.retraction is not None]
        return sorted([*((each.row_id, each.change) for each in self.good), *taken_back], key=lambda each: each[0])


@dataclass(frozen=True)
class ReceivePush:
    """Takes what the peers push, by name.

    Row by row in the order of their ids, and whatever a row is, the rows beside it are taken: Sydent sends a push that was refused
    again until the end of time. A row that is older than what was taken over of its address changes nothing, nor does one whose id
    was taken over before. ``announce`` is told which bindings of this server's own were displaced, in the transaction that does it.
    """

    peers: Mapping[str, SydentPeer]
    database: Database
    register: AddressRegister
    sealer: Sealer
    clock: Clock
    announce: Callable[[Connection, Displaced], None]

    def __call__(self, name: str | None, body: bytes) -> None:
        """Take over a push of the peer whose certificate has this common name; ``UnknownPeer``, ``NotJson``, ``BadJson``."""
        peer = self.peers.get(name or "")
        if peer is None:
            raise UnknownPeer
        push = self._read(peer, sydent_v1.parse(body))
        with self.database.begin() as db:
            self._take_over(db, peer.name, push)
        for bad in push.bad:
            log.warning("sydent.quarantined", peer=peer.name, row=bad.row.id, reason=bad.reason)

    def _read(self, peer: SydentPeer, rows: Sequence[Row]) -> _Push:
        push, now_ms = _Push(), self.clock.now_ms()
        for row in rows:
            try:
                push.good.append(_Good(row.id, sydent_v1.read(peer, row, now_ms)))
            except NotTaken as refusal:
                push.bad.append(_Bad(row, str(refusal), Retraction(refusal.threepid)))
            except Unacceptable as refusal:
                push.bad.append(_Bad(row, str(refusal), None))
        return push

    def _take_over(self, db: Connection, name: str, push: _Push) -> None:
        # The same push may come twice at once: Sydent does not wait for ever.
        lock(db, [self.sealer.index("sydent.peer", name)])
        push.forget(models.known_ids(db, name, [each.row_id for each in push.good] + [each.row.id for each in push.bad]))
        said = push.said()
        indexes = {change.threepid: self.register.index(change.threepid) for _, change in said}
        newest = models.newest_ids(db, name, indexes.values())
        changes = [change for row_id, change in said if row_id > newest.get(indexes[change.threepid], -1)]
        models.take(db, name, [(each.row_id, indexes[each.change.threepid]) for each in push.good])
        models.quarantine(db, [self._quarantined(name, each) for each in push.bad])
        models.begin(db, name)
        models.note(db, name, received_at_ms=self.clock.now_ms())
        self.register.lock(db, *(change.threepid for change in changes))
        for displaced in self.register.apply(db, name, changes):
            self.announce(db, displaced)

    def _quarantined(self, name: str, bad: _Bad) -> dict[str, object]:
        encoded = b"" if bad.row.content is None else encode_canonical_json(bad.row.content)
        content = (
            self.sealer.seal(encoded.decode(), "sydent_quarantine.content") if 0 < len(encoded) <= MAX_KEPT_BYTES else None
        )
        values = {"received_at_ms": self.clock.now_ms(), "reason": bad.reason, "content": content}
        return {"peer": name, "row_id": bad.row.id, **values}


@dataclass(frozen=True)
class PushEndpoint:
    """Answers the requests of Sydent peers: the HTTP status, and what is sent as JSON."""

    receive: ReceivePush

    def __call__(self, request: Received) -> tuple[int, dict[str, Any]]:
        """Answer one request. Whoever sent it learns no more of an unforeseen failure than that it was one."""
        try:
            self._route(request)
        except MatrixError as refusal:
            log.warning("sydent.refused", peer=request.common_name, errcode=refusal.errcode, reason=refusal.message)
            return refusal.status, refusal.to_json()
        except Exception:
            log.exception("sydent.failed", peer=request.common_name)
            return Unknown.status, Unknown().to_json()
        return 200, {"success": True}

    def _route(self, request: Received) -> None:
        if request.path != sydent_v1.PATH:
            raise Unrecognized
        if request.method != "POST":
            raise Unrecognized("This endpoint takes POST alone.", status=405)
        self.receive(request.common_name, request.body)
