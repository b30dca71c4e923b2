"""The Sydent peers of the configuration, made of their parts."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py.bindings.register import AddressRegister, Displaced
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import NotFound
from sydent_py.federation.mutual_tls import Identity, Listener, MutualTlsRemote
from sydent_py.federation.remote import BaseUrl
from sydent_py.log.payloads import Payloads
from sydent_py.log.published import PublishedLog
from sydent_py.peer_settings import Scope, read_verify_key
from sydent_py.replication import sydent_v1
from sydent_py.replication.sydent_client import SydentClient
from sydent_py.replication.sydent_erasure import KeepTombstones
from sydent_py.replication.sydent_peering import Sydent
from sydent_py.replication.sydent_push import Push
from sydent_py.replication.sydent_receive import PushEndpoint, ReceivePush
from sydent_py.replication.sydent_v1 import SydentPeer
from sydent_py.sealing import Sealer
from sydent_py.settings import ConfigurationError, Settings
from sydent_py.signing import Signer


@dataclass(frozen=True)
class Builder:
    """What it takes."""

    settings: Settings
    database: Database
    signer: Signer
    sealer: Sealer
    clock: Clock
    register: AddressRegister
    published_log: PublishedLog
    announce: Callable[[Connection, Displaced], None]

    def sydent(self) -> Sydent:
        """All there is to do with Sydent peers; ``ConfigurationError``."""
        peers, identity = self.settings.sydent_peers, self._identity()
        receive = ReceivePush(
            peers={each.name: _read(each.name, each.verify_key, each.scope) for each in peers if each.receive},
            database=self.database,
            register=self.register,
            sealer=self.sealer,
            clock=self.clock,
            announce=self.announce,
        )
        pushed_to = {each.name: each.push_url for each in peers if each.push_url}
        return Sydent(
            database=self.database,
            register=self.register,
            receive=receive,
            listener=self._listener(receive, identity),
            push=self._push(pushed_to, identity) if identity else {},
            keep_tombstones=KeepTombstones(tuple(pushed_to), self.sealer, self.clock),
            published_log=self.published_log,
        )

    def _identity(self) -> Identity | None:
        ours = self.settings.sydent_replication
        if ours.certificate_file is None or ours.key_file is None:
            return None
        return Identity(ours.certificate_file, ours.key_file, ours.ca_file)

    def _listener(self, receive: ReceivePush, identity: Identity | None) -> Listener | None:
        bind = self.settings.sydent_replication.bind
        if not bind or identity is None:
            return None
        try:
            context = identity.server_context()
        except OSError as error:
            raise _unusable(error) from error
        return Listener(bind, context, PushEndpoint(receive), self.clock)

    def _push(self, pushed_to: dict[str, str], identity: Identity) -> dict[str, Push]:
        if not pushed_to:
            return {}
        try:
            public_key, context = self.signer.public_key(sydent_v1.KEY_ID), identity.client_context()
        except NotFound as error:
            raise ConfigurationError(
                f"sydent_peers: Sydent believes keys named {sydent_v1.KEY_ID} alone, and {self.settings.signing_key_path} has none. "
                "Add one below the others (sydent-py generate-key), and give its public half to the peers; or leave push_url empty."
            ) from error
        except OSError as error:
            raise _unusable(error) from error
        return {
            name: Push(
                name=name,
                way=SydentClient(MutualTlsRemote(BaseUrl.parse(url), self.clock, context)),
                database=self.database,
                published_log=self.published_log,
                payloads=Payloads(self.database, self.sealer),
                signer=self.signer,
                public_key=public_key,
                sealer=self.sealer,
                clock=self.clock,
            )
            for name, url in pushed_to.items()
        }


def _read(name: str, verify_key: str, scope: Scope) -> SydentPeer:
    return SydentPeer(name, *read_verify_key(verify_key), scope)


def _unusable(error: OSError) -> ConfigurationError:
    reason = getattr(error, "reason", None) or error.strerror or error
    return ConfigurationError(
        f"sydent_replication: certificate_file, key_file and ca_file cannot be used together: {reason}"
    )
