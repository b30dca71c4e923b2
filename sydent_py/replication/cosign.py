"""Cosigning the checkpoints of a followed log: one that was verified to its last entry, and continues what was cosigned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.log.audit import Contradiction
from sydent_py.replication.peers import Peer
from sydent_py.replication.witness import Cosignable, Witness, may_cosign
from sydent_py.replication.witness_models import DISPUTED, SOUND
from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import Note


class Fork(Contradiction):
    """Two checkpoints that the log has signed contradict each other, whatever else there is."""


@dataclass(frozen=True)
class CosignFollowed:
    """Compares what is followed of a peer's log with what was cosigned of it. ``hashes`` gives those of its tree of a size."""

    witness: Witness
    peer: Peer
    hashes: Callable[[int], merkle.HashAt]

    def newest_seen(self, before: Checkpoint, encoded: bytes | None) -> tuple[int, bytes, bytes]:
        """Size, root and note of the newest checkpoint: ``before``, which was followed, or one that was cosigned for who submitted it."""
        cosigned = self.witness.last(self.peer)
        if cosigned is None or cosigned.standing != SOUND or cosigned.size <= before.size:
            return before.size, before.root, encoded or b""
        return cosigned.size, cosigned.root, cosigned.checkpoint

    def cosignable(self, target: Checkpoint, encoded: bytes, roots: Mapping[int, bytes]) -> Cosignable | None:
        """A checkpoint all of whose entries were verified, if it continues what was cosigned; ``Fork`` where it does not.

        ``roots`` are those of trees that are known to be how it begins, by size. None where nothing is to be cosigned.
        """
        note, before = Note.parse(encoded), self.witness.last(self.peer)
        cosignable = Cosignable(self.peer, note, target, before)
        if not may_cosign(note) or (before and (before.standing == DISPUTED or before.size > target.size)):
            return None
        if before is None:
            return cosignable
        known = {**roots, target.size: target.root}
        root = known[before.size] if before.size in known else self._prefix_root(before.size, target)
        if root == before.root:
            return None if cosignable.is_cosigned and before.standing == SOUND else cosignable
        if before.standing == SOUND:
            found = f"its first {before.size} entries are not those of the checkpoint that this server has cosigned"
            raise Fork(found, before.checkpoint, encoded)
        self.witness.dispute(self.peer)
        return None

    def _prefix_root(self, size: int, target: Checkpoint) -> bytes:
        root = merkle.prefix_root(size, target.size, target.root, self.hashes(target.size))
        if root is None:
            raise RequestFailed(Reason.MALFORMED, f"its tiles are not those of its checkpoint of {target.size} entries")
        return root
