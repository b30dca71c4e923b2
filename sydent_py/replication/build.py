"""The peers of the configuration, made of their parts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sydent_py.bindings.conflicts import Conflicts
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.federation.remote import BaseUrl, Remote
from sydent_py.keys.notices import KeyNotices
from sydent_py.log.cosignatures import Cosignatures
from sydent_py.log.payloads import Payloads
from sydent_py.log.published import PublishedLog
from sydent_py.outbox.outbox import Outbox
from sydent_py.replication import peers
from sydent_py.replication.announce import Announce
from sydent_py.replication.authenticate import AuthenticatePeer
from sydent_py.replication.check import Check
from sydent_py.replication.client import PeerClient, Transport
from sydent_py.replication.follow import Follow
from sydent_py.replication.nudge import Nudge
from sydent_py.replication.peering import Peering
from sydent_py.replication.peers import Peer
from sydent_py.replication.registers import Registers
from sydent_py.replication.status import Status
from sydent_py.replication.submit import Submit
from sydent_py.replication.take_over import TakeOver
from sydent_py.replication.witness import Witness
from sydent_py.sealing import Sealer
from sydent_py.settings import ConfigurationError, Settings
from sydent_py.signing import Signer
from sydent_py.tlog.cosignature import WitnessKey
from sydent_py.tlog.note import SigningKey as LogKey


@dataclass(frozen=True)
class Builder:
    """What peering is made of. ``way_to`` connects to a peer."""

    settings: Settings
    database: Database
    signer: Signer
    sealer: Sealer
    clock: Clock
    registers: Registers
    log_key: LogKey
    published_log: PublishedLog
    outbox: Outbox
    key_notices: KeyNotices
    way_to: Callable[[Peer], Transport]

    def peering(self) -> Peering:
        """All there is to do with peers; ``ConfigurationError``."""
        configured = {each.name: peers.read(each) for each in self.settings.peers}
        clients = {name: PeerClient(peer, self.way_to(peer), self.signer, self.clock) for name, peer in configured.items()}
        status = self._status(configured)
        witness = self._witness(configured)
        return Peering(
            database=self.database,
            peers=configured,
            authenticate=AuthenticatePeer(self.database, configured, self.settings.own_names, self.clock),
            payloads=Payloads(self.database, self.sealer),
            registers=self.registers,
            clock=self.clock,
            follow={
                name: self._follow(peer, clients[name], witness) for name, peer in configured.items() if peer.is_followed
            },
            nudge={
                name: Nudge(name, self.published_log, self.clock, clients[name])
                for name, peer in configured.items()
                if peer.is_served
            },
            submit={name: self._submit(peer, clients[name]) for name, peer in configured.items() if peer.is_served},
            witness=witness,
            check={name: Check(peer, clients[name], self.database, status, self.clock) for name, peer in configured.items()},
            status=status,
        )

    def _status(self, configured: Mapping[str, Peer]) -> Status:
        return Status(
            database=self.database,
            peers=configured,
            all_conflicts=Conflicts(self.database, self.registers.addresses),
            cosignatures=Cosignatures(self.database),
            sealer=self.sealer,
            clock=self.clock,
            poll_ms=self.settings.replication.poll_seconds * 1000,
        )

    def _witness(self, configured: Mapping[str, Peer]) -> Witness:
        key = WitnessKey(peers.witness_name(self.settings.server.name), self.log_key.seed)
        return Witness(self.database, key, {peer.log_key.name: peer for peer in configured.values()}, self.clock)

    def _submit(self, peer: Peer, client: PeerClient) -> Submit:
        cosignatures = Cosignatures(self.database)
        return Submit(peer.name, self.published_log, self.clock, client, peer.witness_key, cosignatures)

    def _follow(self, peer: Peer, client: PeerClient, witness: Witness) -> Follow:
        return Follow(
            peer=peer,
            source=client,
            database=self.database,
            take_over=TakeOver(peer, self.registers, self.sealer, Announce(self.outbox, self.sealer), self.key_notices),
            clock=self.clock,
            witness=witness,
            poll_ms=self.settings.replication.poll_seconds * 1000,
        )


def way_to(peer: Peer, clock: Clock) -> Remote:
    """A connection to a peer; ``ConfigurationError`` where its certificates cannot be read."""
    try:
        return Remote(BaseUrl.parse(peer.base_url), clock, ca_file=peer.ca_file)
    except OSError as error:
        raise ConfigurationError(f"peers: the ca_file of {peer.name} cannot be used: {error}") from error
