"""The witness (c2sp.org/tlog-witness): cosigns how the logs of peers grow, and never two trees of one log that do not fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, Row

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import Forbidden, InvalidParam, NotFound
from sydent_py.replication import models, witness_models
from sydent_py.replication.peers import Peer
from sydent_py.replication.witness_models import DISPUTED, SOUND
from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.cosignature import WitnessKey
from sydent_py.tlog.note import Note, Signature
from sydent_py.tlog.submission import Submission
from sydent_py.tlog.text import Malformed

# What is cosigned has to fit into a note again, with a signature more.
MAX_TEXT_BYTES = 16 * 1024
# A cosignature is given again for so long, so that nobody makes us write for every request.
FRESH_S = 60

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class OtherSize:
    """The submission does not begin at ``size``, which is that of the checkpoint cosigned last."""

    size: int


@dataclass(frozen=True)
class Cosignable:
    """A checkpoint that its log has signed, and what it was found to continue: None where nothing was cosigned before."""

    peer: Peer
    note: Note
    checkpoint: Checkpoint
    before: Row[Any] | None

    @property
    def is_cosigned(self) -> bool:
        """Whether it is what was cosigned last."""
        return self.before is not None and Note.parse(self.before.checkpoint).text == self.note.text


@dataclass(frozen=True)
class Witness:
    """Knows the logs of ``peers``, by origin, and what it has cosigned of each.

    Whatever comes at once, from followed logs or from submissions: each checkpoint that it cosigns was proved to continue the
    one before, and is stored, in place of exactly that one, before anybody sees the cosignature.
    """

    database: Database
    key: WitnessKey
    peers: Mapping[str, Peer]
    clock: Clock

    def add_checkpoint(self, body: bytes) -> str | OtherSize:
        """Cosign a submission (c2sp.org/tlog-witness, "add-checkpoint"): the signature lines.

        Raises ``InvalidParam`` (400, 409, 422), ``NotFound`` and ``Forbidden``.
        """
        submission, peer, checkpoint = self._read(body)
        while True:
            with self.database.autocommit() as db:
                before = witness_models.last(db, checkpoint.origin)
                state = models.state(db, peer.name)
            if (before and before.standing == DISPUTED) or (state and state.is_stopped):
                raise Forbidden("This log has contradicted itself, or its entries: it is not cosigned.")
            known_size = before.size if before else 0
            if submission.old_size != known_size:
                return OtherSize(known_size)
            cosignable = Cosignable(peer, submission.checkpoint, checkpoint, before)
            line = self._answer(cosignable, submission.path)
            if line is not None:
                return f"{line}\n"
            # Another was first: this one is looked at again, beside what was cosigned meanwhile.

    def last(self, peer: Peer) -> Row[Any] | None:
        """What was cosigned last of a peer's log."""
        with self.database.autocommit() as db:
            return witness_models.last(db, peer.log_key.name)

    def cosign(self, db: Connection, cosignable: Cosignable, *, standing: str = SOUND) -> Signature | None:
        """Cosign a checkpoint, in the caller's transaction; None where ``before`` is no longer what was cosigned last."""
        note, before, key = cosignable.note, cosignable.before, cosignable.peer.log_key
        time_s = max(self.clock.now_ms() // 1000, before.cosigned_at_s if before else 0)
        line = self.key.cosign(note.text, time_s)
        own = next(signature for signature in note.signatures if signature.is_by(key))
        is_stored = witness_models.replace(
            db,
            key.name,
            before,
            size=cosignable.checkpoint.size,
            root=cosignable.checkpoint.root,
            checkpoint=str(Note(note.text, (own,))).encode(),
            cosignature=str(line),
            cosigned_at_s=time_s,
            standing=standing,
        )
        return line if is_stored else None

    def checkpoints(self) -> list[dict[str, str]]:
        """What was cosigned last of each log: its origin, and the checkpoint with the log's signature and ours."""
        with self.database.autocommit() as db:
            rows = witness_models.every(db)
        return [{"log": row.origin, "checkpoint": f"{row.checkpoint.decode()}{row.cosignature}\n"} for row in rows]

    def doubt(self, db: Connection, peer: Peer) -> None:
        """An operator follows a log that was stopped: it may contradict what was cosigned, and is not cosigned then."""
        witness_models.doubt(db, peer.log_key.name)

    def dispute(self, peer: Peer) -> None:
        """Cosign a log that has contradicted itself never again."""
        log.error("witness.disputed", log=peer.log_key.name, consequence="it is not cosigned any more")
        with self.database.begin() as db:
            witness_models.dispute(db, peer.log_key.name)

    def _read(self, body: bytes) -> tuple[Submission, Peer, Checkpoint]:
        try:
            submission = Submission.parse(body)
            checkpoint = Checkpoint.parse(submission.checkpoint.text)
        except Malformed as error:
            raise InvalidParam(f"This is not what c2sp.org/tlog-witness has submitted: {error}.") from error
        peer = self.peers.get(checkpoint.origin)
        if peer is None:
            raise NotFound("This server does not know that log: it is none of its peers'.")
        try:
            open_checkpoint(str(submission.checkpoint).encode(), peer.log_key)
        except Unsigned as error:
            raise Forbidden(
                "The checkpoint has no valid signature of the key that this server knows for its log."
            ) from error
        if submission.old_size > checkpoint.size:
            raise InvalidParam("The old size is larger than the checkpoint's.")
        if not may_cosign(submission.checkpoint):
            raise InvalidParam(f"The text of a checkpoint may have at most {MAX_TEXT_BYTES} bytes here.")
        return submission, peer, checkpoint

    def _answer(self, cosignable: Cosignable, path: tuple[bytes, ...]) -> Signature | str | None:
        """The line; None where another was first."""
        before, checkpoint = cosignable.before, cosignable.checkpoint
        size, root = (before.size, before.root) if before else (0, merkle.EMPTY_ROOT)
        if size == checkpoint.size and root != checkpoint.root:
            self._stop(cosignable)
            raise InvalidParam("The log was forked: this server has cosigned another tree of this size.", status=409)
        if not merkle.proves_consistency(size, checkpoint.size, path, root, checkpoint.root):
            raise InvalidParam("The proof does not show that the tree continues the one cosigned last.", status=422)
        if before and cosignable.is_cosigned and self.clock.now_ms() // 1000 - before.cosigned_at_s < FRESH_S:
            return str(before.cosignature)
        with self.database.begin() as db:
            return self.cosign(db, cosignable, standing=before.standing if before else SOUND)

    def _stop(self, found: Cosignable) -> None:
        """Whoever brought it: the log has signed two trees of one size."""
        assert found.before is not None
        reason = f"the log was forked: it has two trees of {found.checkpoint.size} entries"
        log.error("witness.forked", log=found.checkpoint.origin, reason=reason, advice="see: sydent-py peers check")
        evidence = (found.before.checkpoint, str(found.note).encode())
        with self.database.begin() as db:
            witness_models.dispute(db, found.checkpoint.origin)
            models.stop(db, found.peer.name, error=reason, evidence=evidence, now_ms=self.clock.now_ms())


def may_cosign(note: Note) -> bool:
    """Whether a checkpoint is short enough."""
    return len(note.text.encode()) <= MAX_TEXT_BYTES
