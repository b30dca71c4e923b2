"""Following a peer's log: its entries are verified, taken over and counted off in one transaction."""

from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from sqlalchemy.exc import OperationalError

from sydent_py.clock import Clock, is_recent
from sydent_py.database import Database
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.log.audit import Contradiction
from sydent_py.replication import models
from sydent_py.replication.anew import UNFINISHED, begin_anew
from sydent_py.replication.cosign import CosignFollowed, Fork
from sydent_py.replication.entries import Moment
from sydent_py.replication.pages import Page, read_page
from sydent_py.replication.peers import Peer
from sydent_py.replication.prove import ProveStatements
from sydent_py.replication.take_over import TakeOver
from sydent_py.replication.witness import Cosignable, Witness
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.growing import GrowingTree
from sydent_py.tlog.text import HASH_BYTES, Malformed
from sydent_py.tlog.tiles import TileName

# How many entries are taken over in one transaction, which on SQLite keeps all other writers waiting.
PAGE_ENTRIES = 1024
# A peer that failed is asked again after so long, however often it says that its log has grown.
RETRY_MS = 5_000
# A cache may show an old checkpoint for a while. A log that is still shorter after so long has shrunk.
SHRUNK_FOR_MS = 10 * 60_000
# What contradicts itself may have been spoiled on its way. A peer that does so as often as this, one time after the other, is stopped.
CONTRADICTIONS = 3

OTHER_KEY = "the configuration names another log_key: sydent-py peers resync begins anew with it"

log = structlog.get_logger(__name__)


class PeerLog(Protocol):
    """What a peer shows of its log; each raises ``RequestFailed``."""

    def checkpoint(self) -> bytes:
        """The newest checkpoint."""

    def file(self, name: TileName) -> bytes:
        """A tile, or a bundle of entries; of a partial one perhaps more than was asked for."""

    def payloads(self, first_index: int, limit: int) -> list[Any]:
        """Nonces and payloads of entries, from ``first_index`` on, at most ``limit``."""


@dataclass(frozen=True)
class Follow:
    """Follows the log of one peer.

    What a peer can do wrong stops its own log alone, with the evidence kept; an entry that it may not write is put aside, and
    the rest goes on.
    """

    peer: Peer
    source: PeerLog
    database: Database
    take_over: TakeOver
    clock: Clock
    witness: Witness
    poll_ms: int

    def __call__(self) -> None:
        """Take over what there is, if it is time to ask."""
        state = self._state()
        if state is None or state.is_stopped or not self._is_due(state):
            return
        try:
            while self._advance(state := self._state()):
                pass
            self._prove()
        except RequestFailed as failure:
            self._note_failure(str(failure))
        except Fork as found:
            self._stop(found)
        except Contradiction as found:
            self._doubt(state, found)
        except OperationalError as error:
            # Such as a full disk. Where not even that can be noted, the worker logs it.
            reason = str(error.orig).partition("\n")[0]
            self._note_failure(f"this server's database did not take it over: {reason}")

    def _state(self) -> Any:
        """How far the log is followed; None where the configuration names another log than the one that was."""
        with self.database.autocommit() as db:
            state = models.state(db, self.peer.name)
            if state is None:
                models.begin(db, self.peer.name, log_key=str(self.peer.log_key), scope=self.peer.scope_text)
                state = models.state(db, self.peer.name)
        if state is None:
            return None
        if state.log_key != str(self.peer.log_key):
            if state.error != OTHER_KEY:
                self._note_failure(OTHER_KEY)
            return None
        if state.scope != self.peer.scope_text and (not state.is_stopped or state.error == UNFINISHED):
            log.info("replication.begun_anew", peer=self.peer.name, reason="its scope has changed")
            begin_anew(self.database, self.take_over.registers, self.peer, evidence=state.evidence)
            return None
        return state

    def _is_due(self, state: Any) -> bool:
        now_ms = self.clock.now_ms()
        if state.failed_at_ms is not None and is_recent(state.failed_at_ms, now_ms, RETRY_MS):
            return False
        was_asked = is_recent(state.checked_at_ms, now_ms, self.poll_ms)
        return bool(state.nudged_size > state.size or not was_asked or self._is_behind(state))

    def _is_behind(self, state: Any) -> bool:
        """Whether entries of the checkpoint that was verified last are not taken over yet."""
        return state.checkpoint is not None and Checkpoint.in_note(state.checkpoint).size > state.size

    def _advance(self, state: Any) -> bool:
        """Take over the next page: whether there may be more."""
        if state is None or state.is_stopped:
            return False
        tree = GrowingTree.parse(state.size, state.edge)
        encoded = state.checkpoint if self._is_behind(state) else self._newer(state)
        if encoded is None:
            return False
        target = self._open(encoded)
        page = read_page(
            self.source,
            self.peer,
            state.size,
            min(target.size, state.size + PAGE_ENTRIES),
            Moment(self.clock.now_ms(), state.whole_at_ms),
        )
        root = tree.root()
        tree.append(page.leaves)
        self._verify(tree, target, encoded, state.checkpoint)
        is_whole = tree.size == target.size
        cosignable = self._cosigning.cosignable(target, encoded, {state.size: root}) if is_whole else None
        return self._take_over(page, tree, state.size, encoded, cosignable, is_whole=is_whole)

    def _prove(self) -> None:
        """Have the statements of keys that were taken over proved, once all that is known of the log was."""
        state = self._state()
        if state is not None and not state.is_stopped and state.checkpoint is not None and not self._is_behind(state):
            ProveStatements(self.database, self.take_over.registers.keys, self.witness, self.peer, self._hashes)(
                state.checkpoint
            )

    def _newer(self, state: Any) -> bytes | None:
        """The peer's checkpoint, if it is ahead of what was taken over."""
        encoded = self.source.checkpoint()
        checkpoint, now_ms = self._open(encoded), self.clock.now_ms()
        before = (
            self._open(state.checkpoint) if state.checkpoint else Checkpoint(self.peer.log_key.name, 0, merkle.EMPTY_ROOT)
        )
        size, root, evidence = self._cosigning.newest_seen(before, state.checkpoint)
        if checkpoint.size < size:
            since_ms = state.shrunk_since_ms or now_ms
            if now_ms - since_ms >= SHRUNK_FOR_MS:
                raise Contradiction(f"the log has shrunk from {size} entries to {checkpoint.size}", evidence, encoded)
            self._note_asked(state, now_ms, shrunk_since_ms=since_ms)
            return None
        if checkpoint.size == size and checkpoint.root != root:
            raise Fork(f"the log was forked: it has two trees of {size} entries", evidence, encoded)
        if checkpoint.size == before.size:
            sound = {"shrunk_since_ms": None, "contradictions": 0, "error": None, "failed_at_ms": None}
            self._note_asked(state, now_ms, whole_at_ms=now_ms, **sound)
            return None
        return encoded

    def _open(self, encoded: bytes) -> Checkpoint:
        try:
            return open_checkpoint(encoded, self.peer.log_key)
        except Malformed as error:
            raise RequestFailed(Reason.MALFORMED, str(error)) from error
        except Unsigned as error:
            raise Contradiction(str(error), encoded) from error

    def _verify(self, tree: GrowingTree, target: Checkpoint, encoded: bytes, before: bytes | None) -> None:
        """Make sure that the tree, with the page on it, is how the tree of the checkpoint begins."""
        path = []
        if tree.size < target.size:
            path = merkle.consistency_proof(tree.size, target.size, self._hashes(target.size))
        if not merkle.proves_consistency(tree.size, target.size, path, tree.root(), target.root):
            raise Contradiction(
                f"the first {tree.size} entries are not those that its checkpoint signs, or it does not continue the one before",
                *filter(None, (before, encoded)),
            )

    @property
    def _cosigning(self) -> CosignFollowed:
        return CosignFollowed(self.witness, self.peer, self._hashes)

    def _hashes(self, size: int) -> merkle.HashAt:
        """The hashes of the peer's tree of ``size`` entries."""
        return tiles.hashes_from(lambda level, index: self._tile(level, index, size))

    def _tile(self, level: int, index: int, size: int) -> bytes:
        width = min(tiles.WIDTH, (size >> tiles.HEIGHT * level) - index * tiles.WIDTH)
        tile = self.source.file(TileName(level, index, width))
        if len(tile) < width * HASH_BYTES:
            raise RequestFailed(Reason.MALFORMED, f"a tile of {len(tile)} bytes")
        return tile

    def _take_over(
        self,
        page: Page,
        tree: GrowingTree,
        old_size: int,
        checkpoint: bytes,
        cosignable: Cosignable | None,
        *,
        is_whole: bool,
    ) -> bool:
        with self.database.begin() as db:
            if cosignable is not None and self.witness.cosign(db, cosignable) is None:
                return True  # Something else was cosigned meanwhile: look again whether they fit.
            moved = models.advance(
                db,
                self.peer.name,
                old_size=old_size,
                size=tree.size,
                edge=tree.encode(),
                checkpoint=checkpoint,
                checked_at_ms=self.clock.now_ms(),
                shrunk_since_ms=None,
                contradictions=0,
                error=None,
                failed_at_ms=None,
                **({"whole_at_ms": self.clock.now_ms()} if is_whole else {}),
            )
            if not moved:
                return False
            bad = self.take_over(db, page)
        if bad:
            first = bad[0]
            log.warning(
                "replication.quarantined", peer=self.peer.name, count=len(bad), entry=first.index, reason=first.reason
            )
        return True

    def _note_asked(self, state: Any, now_ms: int, **values: object) -> None:
        """Note that the log has not grown, whatever was said of it until it was asked for."""
        with self.database.autocommit() as db:
            models.note(db, self.peer.name, checked_at_ms=now_ms, **values)
            models.forget_nudge(db, self.peer.name, state.nudged_size)

    def _note(self, **values: object) -> None:
        with self.database.autocommit() as db:
            models.note(db, self.peer.name, **values)

    def _note_failure(self, error: str, *, shrunk_since_ms: int | None = None, **values: object) -> None:
        log.warning("replication.failed", peer=self.peer.name, error=error)
        self._note(error=error, failed_at_ms=self.clock.now_ms(), shrunk_since_ms=shrunk_since_ms, **values)

    def _doubt(self, state: Any, found: Contradiction) -> None:
        """Ask again, a few times: what nobody has signed may have been spoiled on its way."""
        if state.contradictions + 1 >= CONTRADICTIONS:
            self._stop(found)
        else:
            values = {"contradictions": state.contradictions + 1, "shrunk_since_ms": state.shrunk_since_ms}
            self._note_failure(str(found), **values)

    def _stop(self, found: Contradiction) -> None:
        log.error("replication.stopped", peer=self.peer.name, reason=str(found), advice="see: sydent-py peers check")
        with self.database.begin() as db:
            models.stop(db, self.peer.name, error=str(found), evidence=found.evidence, now_ms=self.clock.now_ms())
