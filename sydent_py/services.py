"""Every use case, as the HTTP edge, the worker and the command line find them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sydent_py import rate_limits, schema
from sydent_py.accounts import register
from sydent_py.accounts.authenticate import Authenticate, Tokens
from sydent_py.accounts.register import Register
from sydent_py.accounts.terms import Terms
from sydent_py.bindings import notify
from sydent_py.bindings.bind import Bind
from sydent_py.bindings.mine import Mine
from sydent_py.bindings.removal import Removals
from sydent_py.bindings.unbind import Unbind
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.directory.lookup import HashDetails, Lookup
from sydent_py.federation import server_keys
from sydent_py.federation.authentication import AuthenticateHomeserver
from sydent_py.homeservers.trusted import TrustedHomeservers
from sydent_py.identifiers import Network
from sydent_py.invites.invites import Invites
from sydent_py.invites.opt_out import OptOuts
from sydent_py.invites.sign import SignInvite
from sydent_py.invites.store import StoreInvite
from sydent_py.keys.build import Keys
from sydent_py.log.published import PublishedLog
from sydent_py.log.sequencer import Sequencer
from sydent_py.messaging.email import Mailer
from sydent_py.messaging.sms import Pager
from sydent_py.outbox.deliver import Deliver
from sydent_py.replication.client import Transport
from sydent_py.replication.peering import Peering
from sydent_py.replication.peers import Peer
from sydent_py.replication.sydent_peering import Sydent
from sydent_py.signing import Signer
from sydent_py.sms.build import Sms
from sydent_py.validation.request_email_token import RequestEmailToken
from sydent_py.validation.request_msisdn_token import RequestMsisdnToken
from sydent_py.validation.sessions import Sessions
from sydent_py.validation.submit_token import SubmitToken

INVITE_SIGNING_PATH = "/_matrix/identity/unstable/sydent_py/invites/sign"


class Homeservers(register.Homeservers, server_keys.Homeservers, notify.Homeservers, Protocol):
    """All that is asked of homeservers."""


@dataclass(frozen=True)
class Outside:
    """What a test replaces: the clock, the mail, the homeservers, the text messages, and the ways to peers."""

    clock: Clock
    mailer: Mailer
    homeservers: Homeservers
    pager: Pager
    way_to: Callable[[Peer], Transport]


@dataclass(frozen=True)
class Accounts:
    """Registration, tokens, terms; and homeservers, which sign instead."""

    register: Register
    authenticate: Authenticate
    authenticate_homeserver: AuthenticateHomeserver
    tokens: Tokens
    terms: Terms


@dataclass(frozen=True)
class Validation:
    """Proving addresses."""

    request_email_token: RequestEmailToken
    request_msisdn_token: RequestMsisdnToken
    submit_token: SubmitToken
    sessions: Sessions


@dataclass(frozen=True)
class Invitations:
    """Inviting addresses that are not bound."""

    store: StoreInvite
    sign: SignInvite
    stored: Invites
    opt_outs: OptOuts


@dataclass(frozen=True)
class Bindings:
    """Vouching for addresses, and taking it back."""

    bind: Bind
    unbind: Unbind
    removals: Removals
    mine: Mine


@dataclass(frozen=True)
class Deliveries:
    """What the worker sends."""

    onbind: Deliver
    invite_mail: Deliver
    removal_mail: Deliver
    displaced_mail: Deliver
    keys_mail: Deliver
    keys_text: Deliver


@dataclass(frozen=True)
class Operator:
    """Who runs the server: a name, and an email address or an ``https`` URL; each is empty where it is not given."""

    name: str
    contact: str


@dataclass(frozen=True)
class Services:
    """The whole server below its HTTP edge."""

    database: Database
    signer: Signer
    accounts: Accounts
    validation: Validation
    sms: Sms
    bindings: Bindings
    keys: Keys
    invites: Invitations
    homeservers: TrustedHomeservers
    deliveries: Deliveries
    sequencer: Sequencer
    published_log: PublishedLog
    peering: Peering
    sydent: Sydent
    hash_details: HashDetails
    lookup: Lookup
    server_name: str
    operator: Operator
    public_base_url: str
    trusted_proxies: tuple[Network, ...]
    delegate_networks: tuple[Network, ...]
    page_templates_dir: str | None
    next_link_origins: tuple[str, ...]
    clock: Clock

    def is_ready(self) -> bool:
        """Whether the database answers and has the schema this version was written for."""
        with self.database.autocommit() as db:
            return schema.is_current(db)

    def forget_expired(self) -> None:
        """Delete what has run out: sessions, invitations, counted text messages, rate limit windows, past lookup budgets, claims."""
        with self.database.begin() as db:
            self.validation.sessions.forget_expired(db)
            self.sms.traffic.forget_expired(db)
            self.invites.stored.forget_expired(db)
            self.lookup.forget_expired(db)
            self.homeservers.forget_expired(db)
            self.keys.register.forget_expired(db)
            rate_limits.forget_expired(db, self.clock.now_ms())
            # What a process of an earlier version has queued since the start.
            self.bindings.bind.associations.log.complete(db)
        self.peering.forget_expired()
        self.sydent.forget_expired()
        self.sydent.forget_strangers(self.peering.follow)
        register = self.peering.registers.addresses
        register.forget_expired(self.database)
        register.settle(self.database)
        self.database.forget_deleted()

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()
