"""What is known of the peers: how far each is followed, and what stands in the way."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sydent_py.bindings.conflicts import Conflict, Conflicts
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.log.cosignatures import Cosignatures
from sydent_py.replication import models, witness_models
from sydent_py.replication.peers import Peer
from sydent_py.sealing import Sealer
from sydent_py.tlog.checkpoint import Checkpoint

# Beyond two polls, which a busy worker may need.
LATE_AFTER_MS = 60_000

State = Literal["following", "behind", "failing", "stopped", "never reached", "not followed"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one peer stands: ``entries`` of its log are taken over, ``lag_entries`` of its newest verified checkpoint are not.

    ``verified_at_ms`` is when its log was found to be sound last, None where that never was; ``error`` what went wrong since.
    ``cosigned_entries`` is how much of its log this server has cosigned, ``cosigned_by_it`` how much of ours it has; 0 for nothing.
    """

    name: str
    is_followed: bool
    is_served: bool
    state: State
    entries: int
    lag_entries: int
    verified_at_ms: int | None
    lag_ms: int | None
    error: str | None
    failed_at_ms: int | None
    quarantined: int
    cosigned_entries: int
    cosigned_by_it: int

    def to_json(self) -> dict[str, Any]:
        """For scripts; times and durations in ms."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PutAside:
    """An entry that was not taken over, and why; ``ts`` in ms since the epoch, as the peer says, 0 where it is no entry."""

    index: int
    kind: str
    ts: int
    reason: str
    payload: str | None


@dataclass(frozen=True)
class Status:
    """Tells of every peer of the configuration."""

    database: Database
    peers: Mapping[str, Peer]
    all_conflicts: Conflicts
    cosignatures: Cosignatures
    sealer: Sealer
    clock: Clock
    poll_ms: int

    def standings(self) -> list[Standing]:
        """How all of them stand."""
        with self.database.autocommit() as db:
            states, quarantined = models.states(db), models.quarantine_counts(db)
            cosigned = {row.origin: row.size for row in witness_models.every(db)}
        return [
            self._standing(peer, states.get(name), quarantined.get(name, 0), cosigned.get(peer.log_key.name, 0))
            for name, peer in self.peers.items()
        ]

    def stopped(self) -> list[str]:
        """The names of those that are followed no more."""
        return [standing.name for standing in self.standings() if standing.state == "stopped"]

    def quarantine(self, name: str, limit: int) -> tuple[int, list[PutAside]]:
        """How many entries of a peer were put aside, and the newest of them."""
        with self.database.autocommit() as db:
            count, rows = models.count_quarantined(db, name), models.quarantined(db, name, limit)
        return count, [PutAside(row.entry_index, row.kind, row.ts, row.reason, self._unsealed(row.payload)) for row in rows]

    def conflicts(self, limit: int) -> list[Conflict]:
        """Addresses that origins give to different users."""
        return self.all_conflicts(limit)

    def conflict_counts(self) -> dict[str, int]:
        """How many of them each origin has a part in. It looks at every binding."""
        return self.all_conflicts.counts()

    def _unsealed(self, payload: bytes | None) -> str | None:
        return None if payload is None else self.sealer.unseal(payload, "quarantine.payload")

    def _standing(self, peer: Peer, state: Any, quarantined: int, cosigned: int) -> Standing:
        size, seen = (state.size, _size(state.checkpoint)) if state else (0, 0)
        verified_at_ms = (state.shrunk_since_ms or state.checked_at_ms or None) if state else None
        lag_ms = None if verified_at_ms is None else max(0, self.clock.now_ms() - verified_at_ms)
        lag_entries = max(0, seen - size)
        return Standing(
            name=peer.name,
            is_followed=peer.is_followed,
            is_served=peer.is_served,
            state=self._state(peer, state, lag_entries, lag_ms),
            entries=size,
            lag_entries=lag_entries,
            verified_at_ms=verified_at_ms,
            lag_ms=lag_ms,
            error=state.error if state else None,
            failed_at_ms=state.failed_at_ms if state else None,
            quarantined=quarantined,
            cosigned_entries=cosigned,
            cosigned_by_it=self.cosignatures.size(peer.witness_key),
        )

    def _state(self, peer: Peer, state: Any, lag_entries: int, lag_ms: int | None) -> State:
        if not peer.is_followed:
            return "not followed"
        if state is not None and state.is_stopped:
            return "stopped"
        if lag_ms is None:
            return "never reached"
        if state.error is not None:
            return "failing"
        return "behind" if lag_entries or lag_ms > 2 * self.poll_ms + LATE_AFTER_MS else "following"


def _size(checkpoint: bytes | None) -> int:
    """How many entries a checkpoint has that was verified when it was stored."""
    return 0 if checkpoint is None else Checkpoint.in_note(checkpoint).size
