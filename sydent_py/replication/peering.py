"""Everything this server does with its peers, as the HTTP edge, the worker and the command line find it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import Forbidden
from sydent_py.log.payloads import Payloads
from sydent_py.replication import models
from sydent_py.replication.anew import begin_anew
from sydent_py.replication.authenticate import AuthenticatePeer
from sydent_py.replication.check import Check
from sydent_py.replication.follow import Follow
from sydent_py.replication.nudge import Nudge
from sydent_py.replication.peers import Peer
from sydent_py.replication.registers import Registers
from sydent_py.replication.resume import resume
from sydent_py.replication.status import Status
from sydent_py.replication.submit import Submit
from sydent_py.replication.witness import Witness


@dataclass(frozen=True)
class Peering:
    """The peers of the configuration: what they ask of us, and how we follow and nudge each of them."""

    database: Database
    peers: Mapping[str, Peer]
    authenticate: AuthenticatePeer
    payloads: Payloads
    registers: Registers
    clock: Clock
    follow: Mapping[str, Follow]
    nudge: Mapping[str, Nudge]
    submit: Mapping[str, Submit]
    witness: Witness
    check: Mapping[str, Check]
    status: Status

    def require_served(self, peer: Peer) -> None:
        """Raise ``Forbidden`` for a peer that may not read what our log is about."""
        if not peer.is_served:
            raise Forbidden("This server does not share its entries with you: [[peers]] direction says so.")

    def nudged(self, peer: Peer, size: int) -> None:
        """A peer says that its log has grown to ``size``; the worker looks at once."""
        with self.database.autocommit() as db:
            models.nudge(db, peer.name, size)

    def resync(self, name: str) -> None:
        """Forget all that a peer has said, and how far it was followed: its log is followed anew from its first entry.

        What was cosigned of the log stays. A log that was stopped may contradict that now: it is followed, and never cosigned again.
        """
        peer = self.peers[name]
        with self.database.begin() as db:
            state = models.state(db, name)
            if state is not None and (state.is_stopped or state.log_key != str(peer.log_key)):
                self.witness.doubt(db, peer)
            # Something to be stopped, so that no worker begins before all is forgotten.
            models.begin(db, name, log_key=str(peer.log_key), scope=peer.scope_text)
        begin_anew(self.database, self.registers, peer)

    def resume(self, name: str) -> None:
        """Follow a stopped peer on from the first entry that was not taken over; ``NotResumed``."""
        with self.database.begin() as db:
            resume(db, self.peers[name])

    @property
    def followed_logs(self) -> dict[str, str]:
        """The names of the logs that are followed, by peer."""
        return {name: follow.peer.log_key.name for name, follow in self.follow.items()}

    def forget_expired(self) -> None:
        """Forget the signed requests that would not be believed any more, and how far servers were followed that are no peers.

        What those have said is forgotten next, and if they come back they are followed from their first entry. One that was
        stopped stays stopped, with the evidence.
        """
        with self.database.begin() as db:
            models.forget_nonces(db, self.clock.now_ms())
            for name, state in models.states(db).items():
                if name not in self.follow and not state.is_stopped:
                    models.forget(db, name)
        for origin in self.registers.keys.origins(self.database) - {*self.follow}:
            self.registers.keys.forget_origin(self.database, origin)
