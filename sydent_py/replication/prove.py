"""Fetching the proofs that statements of keys are in a peer's log, so that they can be shown to whoever asks here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sydent_py.database import Database
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.keys.register import KeyRegister
from sydent_py.log.leaf import Kind, Leaf
from sydent_py.replication.peers import Peer
from sydent_py.replication.witness import Witness
from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import Note, Signature
from sydent_py.tlog.proof import Proof

# So many at a time: the tiles that they share are fetched once.
PROVE_AT_ONCE = 256
KIND: Kind = "key"


@dataclass(frozen=True)
class ProveStatements:
    """Proves statements at the newest checkpoint that was verified to its last entry. ``hashes`` gives those of its tree of a size."""

    database: Database
    keys: KeyRegister
    witness: Witness
    peer: Peer
    hashes: Callable[[int], merkle.HashAt]

    def __call__(self, checkpoint: bytes) -> None:
        """Prove the statements that have no proof yet; ``RequestFailed`` where the peer's tiles are not those of its checkpoint."""
        verified = Checkpoint.in_note(checkpoint)
        rows = self._unproved(verified.size)
        if not rows:
            return
        cosigned = self.witness.last(self.peer)
        if cosigned is not None and cosigned.size > verified.size:
            return  # What was submitted is ahead of what was followed: the proofs are to have our cosignature.
        note, hashes = self._note(checkpoint, cosigned), self.hashes(verified.size)
        while rows:
            proofs = [(row, self._prove(row, note, verified, hashes)) for row in rows]
            with self.database.begin() as db:
                for row, proof in proofs:
                    self.keys.keep_proof(db, self.peer.name, row.commitment, str(proof))
            rows = self._unproved(verified.size)

    def _unproved(self, size: int) -> list[Any]:
        with self.database.autocommit() as db:
            return self.keys.unproved(db, self.peer.name, size, PROVE_AT_ONCE)

    def _prove(self, row: Any, note: Note, verified: Checkpoint, hashes: merkle.HashAt) -> Proof:
        leaf = Leaf(KIND, row.ts, row.commitment).encode()
        path = tuple(merkle.inclusion_proof(row.entry_index, verified.size, hashes))
        if not merkle.proves_inclusion(merkle.leaf_hash(leaf), row.entry_index, verified.size, path, verified.root):
            raise RequestFailed(Reason.MALFORMED, f"its tiles do not show its entry {row.entry_index}")
        return Proof(row.entry_index, path, note, leaf)

    def _note(self, checkpoint: bytes, cosigned: Any) -> Note:
        """The checkpoint with the log's signature, and with this server's own where it has cosigned it."""
        note = Note.parse(checkpoint)
        lines = [line for line in note.signatures if line.is_by(self.peer.log_key)]
        if cosigned is not None and Note.parse(cosigned.checkpoint).text == note.text:
            lines.append(Signature.parse(cosigned.cosignature))
        return Note(note.text, tuple(lines))
