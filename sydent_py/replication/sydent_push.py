"""Sending this server's own bindings and removals to a Sydent peer, from the log, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.log.leaf import Leaf
from sydent_py.log.payloads import Payloads
from sydent_py.log.published import PublishedLog
from sydent_py.replication import sydent_models as models
from sydent_py.replication import sydent_v1
from sydent_py.replication.sydent_v1 import Row
from sydent_py.sealing import Sealer
from sydent_py.signing import Signer
from sydent_py.strict_json import parse_object
from sydent_py.tlog import tiles
from sydent_py.tlog.tiles import TileName

FIRST_RETRY_MS = 2_000
LAST_RETRY_MS = 300_000

log = structlog.get_logger(__name__)


class Way(Protocol):
    """A way to the peer."""

    def push(self, body: bytes) -> None:
        """Hand over one push; ``RequestFailed`` where the peer does not say that it has it."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Consecutive entries of our log up to ``end``: what they tell the peer, and what they are known by."""

    end: int
    rows: list[Row]
    commitments: list[bytes]


@dataclass(frozen=True)
class Push:
    """Sends one peer what it does not have yet, under row ids that come from the places of the entries.

    ``public_key`` is that of our signing key which Sydent knows as ``ed25519:0``.
    """

    name: str
    way: Way
    database: Database
    published_log: PublishedLog
    payloads: Payloads
    signer: Signer
    public_key: str
    sealer: Sealer
    clock: Clock

    def __call__(self) -> None:
        """Send all there is, if it is time to; what the peer does not take is sent again, later and later."""
        state = self._state()
        if not self._is_due(state):
            return
        sent_size, size = state.sent_size, self.published_log.size()
        while sent_size < size:
            end = _end(sent_size, size)
            if not self._tell(sent_size, end):
                return
            # Read after it was noted: what is erased by then is not sent, and what is erased later is taken back.
            batch = self._batch(sent_size, end)
            try:
                if batch.rows:
                    self.way.push(sydent_v1.write(batch.rows))
            except RequestFailed as failure:
                self._note_failure(state.failures, failure)
                return
            if not self._advance(sent_size, batch):
                return
            sent_size = batch.end

    def _state(self) -> Any:
        with self.database.autocommit() as db:
            state = models.state(db, self.name)
            if state is None:
                models.begin(db, self.name)
                state = models.state(db, self.name)
        return state

    def _is_due(self, state: Any) -> bool:
        # An end that is further away than any pause says nothing: the clock was set back.
        return not 0 < state.due_at_ms - self.clock.now_ms() <= LAST_RETRY_MS

    def _tell(self, old_size: int, size: int) -> bool:
        with self.database.begin() as db:
            return models.tell(db, self.name, old_size=old_size, size=size)

    def _batch(self, start: int, end: int) -> _Batch:
        number = start // tiles.WIDTH
        bundle = self.published_log.file(TileName(None, number, end - number * tiles.WIDTH))
        leaves = [Leaf.parse(entry) for entry in tiles.parse_bundle(bundle)[start - number * tiles.WIDTH :]]
        opened = self.payloads(start, end - start)
        # After the payloads: what has been erased by then is kept by now.
        kept = self._kept([leaf.commitment for leaf in leaves])
        rows = []
        for index, (leaf, given) in enumerate(zip(leaves, opened, strict=True), start):
            payload = given["payload"] if given else kept.get(leaf.commitment)
            rows += sydent_v1.rows_of(index, leaf.kind, payload) if payload else []
        return _Batch(end, [self._signed(row) for row in rows], [leaf.commitment for leaf in leaves])

    def _signed(self, row: Row) -> Row:
        return Row(row.id, self.signer.sign(row.content or {}, self.public_key))

    def _kept(self, commitments: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
        with self.database.autocommit() as db:
            kept = models.tombstones(db, self.name, commitments)
        return {
            commitment: parse_object(self.sealer.unseal(content, "sydent_tombstones.content").encode())
            for commitment, content in kept.items()
        }

    def _advance(self, old_size: int, batch: _Batch) -> bool:
        with self.database.begin() as db:
            moved = models.advance(db, self.name, old_size=old_size, size=batch.end)
            if moved:
                models.forget_tombstones(db, self.name, batch.commitments)
        if moved and batch.rows:
            log.info("sydent.pushed", peer=self.name, rows=len(batch.rows), entries=batch.end)
        return moved

    def _note_failure(self, failures: int, failure: RequestFailed) -> None:
        pause_ms = min(LAST_RETRY_MS, FIRST_RETRY_MS << min(failures, 16))
        advice = "does it have our key as ed25519:0, and our name?" if failure.reason is Reason.STATUS else None
        log.warning("sydent.not_pushed", peer=self.name, error=str(failure), advice=advice, again_in_ms=pause_ms)
        values = {"failures": failures + 1, "due_at_ms": self.clock.now_ms() + pause_ms, "error": str(failure)}
        with self.database.autocommit() as db:
            models.note(db, self.name, **values)


def _end(start: int, size: int) -> int:
    """Within one bundle of entries, and no more than the peer takes at once."""
    return min(size, start + sydent_v1.ENTRIES_PER_PUSH, (start // tiles.WIDTH + 1) * tiles.WIDTH)
