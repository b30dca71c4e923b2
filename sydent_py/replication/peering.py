"""Everything this server does with its peers, as the HTTP edge, the worker and the command line find it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sydent_py.bindings.register import AddressRegister
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import Forbidden
from sydent_py.log.payloads import Payloads
from sydent_py.replication import models
from sydent_py.replication.authenticate import AuthenticatePeer
from sydent_py.replication.follow import Follow
from sydent_py.replication.nudge import Nudge
from sydent_py.replication.peers import Peer


@dataclass(frozen=True)
class Peering:
    """The peers of the configuration: what they ask of us, and how we follow and nudge each of them."""

    database: Database
    peers: Mapping[str, Peer]
    authenticate: AuthenticatePeer
    payloads: Payloads
    register: AddressRegister
    clock: Clock
    follow: Mapping[str, Follow]
    nudge: Mapping[str, Nudge]

    def require_served(self, peer: Peer) -> None:
        """Raise ``Forbidden`` for a peer that may not read what our log is about."""
        if not peer.is_served:
            raise Forbidden("This server does not share its entries with you: [[peers]] direction says so.")

    def nudged(self, peer: Peer, size: int) -> None:
        """A peer says that its log has grown to ``size``; the worker looks at once."""
        with self.database.autocommit() as db:
            models.nudge(db, peer.name, size)

    def resync(self, name: str) -> None:
        """Forget all that a peer has said, and how far it was followed: its log is followed anew from its first entry."""
        with self.database.begin() as db:
            models.forget(db, name)
        self.register.forget_origin(self.database, name)

    def forget_strangers(self) -> None:
        """Forget what servers have said that are no peers any more."""
        for origin in self.register.origins(self.database) - set(self.follow):
            self.register.forget_origin(self.database, origin)

    def forget_expired(self) -> None:
        """Forget the signed requests that would not be believed any more."""
        with self.database.begin() as db:
            models.forget_nonces(db, self.clock.now_ms())
