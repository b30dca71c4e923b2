"""Everything this server does with peers that run Sydent, as the worker and the command line find it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from sydent_py.bindings.register import AddressRegister
from sydent_py.database import Database
from sydent_py.federation.mutual_tls import Listener
from sydent_py.log.published import PublishedLog
from sydent_py.replication import sydent_models as models
from sydent_py.replication.sydent_erasure import KeepTombstones
from sydent_py.replication.sydent_push import Push
from sydent_py.replication.sydent_receive import ReceivePush


@dataclass(frozen=True)
class Status:
    """How far a peer is: ``behind`` entries of our log are still to be sent, None where nothing is.

    ``error`` is what went wrong with them last; ``quarantined`` counts its rows that were not taken over; ``received_at_ms`` is when it
    pushed last, None where it never has.
    """

    name: str
    behind: int | None
    error: str | None
    quarantined: int
    received_at_ms: int | None


@dataclass(frozen=True, slots=True)
class PutAside:
    """A row that was not taken over, and why. ``content`` is its JSON; None where it was too long, or could not be kept."""

    row_id: int
    received_at_ms: int
    reason: str
    content: str | None


@dataclass(frozen=True)
class Sydent:
    """The Sydent peers of the configuration: what they push, to ``listener`` where there is one, and what is pushed to them."""

    database: Database
    register: AddressRegister
    receive: ReceivePush
    listener: Listener | None
    push: Mapping[str, Push]
    keep_tombstones: KeepTombstones
    published_log: PublishedLog

    def listening(self) -> AbstractContextManager[None]:
        """Take what peers push meanwhile."""
        return nullcontext() if self.listener is None else self.listener.listening()

    @property
    def names(self) -> list[str]:
        """All of them."""
        return sorted({*self.receive.peers, *self.push})

    def status(self) -> list[Status]:
        """How far every peer is."""
        size, names = self.published_log.size(), self.names
        with self.database.autocommit() as db:
            rows = {name: (models.state(db, name), models.count_quarantined(db, name)) for name in names}
        return [
            Status(
                name=name,
                behind=size - (state.sent_size if state else 0) if name in self.push else None,
                error=state.error if state else None,
                quarantined=quarantined,
                received_at_ms=state.received_at_ms if state else None,
            )
            for name, (state, quarantined) in rows.items()
        ]

    def quarantine(self, name: str, limit: int) -> tuple[int, list[PutAside]]:
        """How many rows of a peer were put aside, and the newest of them."""
        with self.database.autocommit() as db:
            count, rows = models.count_quarantined(db, name), models.quarantined(db, name, limit)
        return count, [PutAside(row.row_id, row.received_at_ms, row.reason, self._unsealed(row.content)) for row in rows]

    def resync(self, name: str) -> None:
        """Forget all that a peer has pushed: what it pushes from now on is taken over whatever its row ids are."""
        self.register.forget_origin(self.database, name)
        with self.database.begin() as db:
            models.forget_received(db, [peer for peer in self.receive.peers if peer != name])

    def forget_strangers(self, others: Iterable[str]) -> None:
        """Forget what servers have said that are no peers any more, neither here nor among ``others``, and how far they were."""
        with self.database.begin() as db:
            models.forget_received(db, list(self.receive.peers))
            models.forget_sent(db, list(self.push))
        for origin in self.register.origins(self.database) - {*self.receive.peers, *others}:
            self.register.forget_origin(self.database, origin)

    def forget_expired(self) -> None:
        """Forget removals that a peer could not be told of for too long."""
        with self.database.begin() as db:
            self.keep_tombstones.forget_expired(db)

    def _unsealed(self, content: bytes | None) -> str | None:
        return None if content is None else self.receive.sealer.unseal(content, "sydent_quarantine.content")
