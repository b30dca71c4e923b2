"""Having a peer cosign our log."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.log.cosignatures import Cosignatures
from sydent_py.replication.each_checkpoint import EachCheckpoint
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import Signature, VerifierKey
from sydent_py.tlog.submission import Submission


class NotThatSize(RequestFailed):
    """The witness has cosigned ``size`` entries last, and not what was submitted as the old size."""

    def __init__(self, size: int) -> None:
        super().__init__(Reason.STATUS, f"it has cosigned {size} entries last")
        self.size = size


class Cosigner(Protocol):
    """Whom to ask."""

    def add_checkpoint(self, submission: Submission) -> Sequence[Signature]:
        """The signature lines; ``NotThatSize``, ``RequestFailed``."""


@dataclass
class Submit(EachCheckpoint):
    """Has one peer cosign our checkpoints. ``key`` is the peer's."""

    failure = "replication.not_cosigned"
    # A cosignature says when it was made, and who reads a log that grows slowly wants to know that it is the newest still.
    again_ms = 10 * 60_000

    peer: Cosigner
    key: VerifierKey
    cosignatures: Cosignatures
    _known: int | None = field(init=False, default=None)

    def _tell(self, _size: int) -> int:
        """The size of what was cosigned."""
        known = self.cosignatures.size(self.key) if self._known is None else self._known
        try:
            return self._submit_from(known)
        except NotThatSize as other:
            self._known = other.size
            return self._submit_from(other.size)

    def _submit_from(self, old_size: int) -> int:
        submission = self.published_log.submission(old_size)
        if submission is None:
            raise RequestFailed(Reason.MALFORMED, f"it has seen {old_size} entries of our log, which has fewer")
        note = submission.checkpoint
        lines = self.peer.add_checkpoint(submission)
        if not any(self.cosignatures.keep(self.key, note, line) for line in lines):
            raise RequestFailed(Reason.MALFORMED, f"no valid cosignature of {self.key}")
        self._known = Checkpoint.parse(note.text).size
        return self._known
