"""Having a peer cosign our log."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from sydent_py.clock import Clock
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.log.cosignatures import Cosignatures
from sydent_py.log.published import PublishedLog
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import Signature, VerifierKey
from sydent_py.tlog.submission import Submission

# A peer that cannot be reached, or does not cosign, is asked again after so long.
RETRY_MS = 10_000

log = structlog.get_logger(__name__)


class NotThatSize(Exception):
    """The witness has cosigned ``size`` entries last, and not what was submitted as the old size."""

    def __init__(self, size: int) -> None:
        super().__init__(f"it has cosigned {size} entries last")
        self.size = size


class Cosigner(Protocol):
    """Whom to ask."""

    def add_checkpoint(self, submission: Submission) -> Sequence[Signature]:
        """The signature lines; ``NotThatSize``, ``RequestFailed``."""


@dataclass
class Submit:
    """Has one peer cosign each of our checkpoints, or the newest where there are many. ``key`` is the peer's."""

    name: str
    peer: Cosigner
    key: VerifierKey
    published_log: PublishedLog
    cosignatures: Cosignatures
    clock: Clock
    _known: int | None = field(init=False, default=None)
    _done: int = field(init=False, default=0)
    _failed_at_ms: int | None = field(init=False, default=None)

    def __call__(self) -> None:
        """Submit our newest checkpoint, if the peer has not cosigned it."""
        size, now_ms = self.published_log.size(), self.clock.now_ms()
        if size == self._done or (self._failed_at_ms is not None and now_ms - self._failed_at_ms < RETRY_MS):
            return
        try:
            self._done = self._submit()
        except (RequestFailed, NotThatSize) as failure:
            if self._failed_at_ms is None:
                log.warning("replication.not_cosigned", peer=self.name, error=str(failure))
            self._failed_at_ms = now_ms
            return
        self._failed_at_ms = None

    def _submit(self) -> int:
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
        text = submission.checkpoint.text
        lines = self.peer.add_checkpoint(submission)
        if not any(self.cosignatures.keep(self.key, text, line) for line in lines):
            raise RequestFailed(Reason.MALFORMED, f"no valid cosignature of {self.key}")
        self._known = Checkpoint.parse(text).size
        return self._known
