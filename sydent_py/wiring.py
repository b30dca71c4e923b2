"""Settings in, services out: every use case is built here, once."""

from dataclasses import replace
from threading import BoundedSemaphore

from sydent_py import installation, rate_limits
from sydent_py.accounts.authenticate import Authenticate, Tokens
from sydent_py.accounts.register import Register
from sydent_py.accounts.terms import Terms
from sydent_py.bindings.associations import Associations
from sydent_py.bindings.bind import Bind
from sydent_py.bindings.mine import Mine
from sydent_py.bindings.notify import NotifyHomeserver
from sydent_py.bindings.register import AddressRegister
from sydent_py.bindings.removal import Removals, SendRemovalMail
from sydent_py.bindings.unbind import Unbind
from sydent_py.clock import DAY_MS, SystemClock
from sydent_py.directory import lookup
from sydent_py.directory.lookup import HashDetails
from sydent_py.directory.peppers import Peppers
from sydent_py.directory.publish import Directory
from sydent_py.federation import client as federation
from sydent_py.federation.authentication import AuthenticateHomeserver
from sydent_py.federation.patience import Slots
from sydent_py.federation.server_keys import ServerKeys
from sydent_py.homeserver_settings import pinned_keys
from sydent_py.homeservers import trusted
from sydent_py.invites.invites import Invites
from sydent_py.invites.mail import SendInviteMail
from sydent_py.invites.opt_out import OptOuts
from sydent_py.invites.sign import SignInvite
from sydent_py.invites.store import Blocked, StoreInvite
from sydent_py.keys import build as keys
from sydent_py.keys.notices import SendKeysMail, SendKeysText
from sydent_py.log.append import Log
from sydent_py.log.erase import EraseHistory
from sydent_py.log.published import PublishedLog
from sydent_py.log.sequencer import Sequencer
from sydent_py.messaging import email, providers
from sydent_py.messaging.templates import Templates
from sydent_py.outbox.deliver import Deliver
from sydent_py.outbox.outbox import Outbox
from sydent_py.rate_limits import RateLimits
from sydent_py.replication import build as replication
from sydent_py.replication import sydent_build as sydent
from sydent_py.replication.announce import Announce, SendDisplacedMail
from sydent_py.replication.peering import Peering
from sydent_py.replication.registers import Registers
from sydent_py.replication.sydent_peering import Sydent
from sydent_py.sealing import Sealer
from sydent_py.services import (
    INVITE_SIGNING_PATH,
    Accounts,
    Bindings,
    Deliveries,
    Invitations,
    Operator,
    Outside,
    Services,
    Validation,
)
from sydent_py.settings import Settings
from sydent_py.signing import Signer
from sydent_py.sms import build as sms
from sydent_py.terms_file import load_terms
from sydent_py.validation.request_email_token import RequestEmailToken
from sydent_py.validation.request_msisdn_token import RequestMsisdnToken
from sydent_py.validation.sending import Sending
from sydent_py.validation.sessions import Sessions
from sydent_py.validation.submit_token import SubmitToken

# A homeserver may be down for days. A mail that is late by more than one is not worth sending.
GIVE_UP_ONBIND_AFTER_MS = 7 * DAY_MS
GIVE_UP_MAIL_AFTER_MS = DAY_MS


def build(settings: Settings, outside: Outside | None = None) -> Services:
    """The services of these settings, on a database that ``installation.prepare`` has made ready.

    Raises ``ConfigurationError`` for keys, files or a database that do not fit together.
    """
    return _Builder(settings, outside).services()


class _Builder:
    """The parts that several features share, and the features made of them."""

    def __init__(self, settings: Settings, outside: Outside | None) -> None:
        self.settings = settings
        self.sealer = installation.read_sealer(settings)
        self.signer = installation.read_signer(settings)
        self.outside = outside or _outside(settings, self.sealer, self.signer)
        self.clock = self.outside.clock
        self.database = installation.open_database(settings, pool_size=settings.server.threads)
        self.limits: RateLimits = rate_limits.build(settings.limits, self.database, self.sealer, self.clock)
        self.peppers = Peppers(self.database, self.sealer, self.clock)
        self.directory = Directory(self.peppers)
        self.log_key = installation.read_log_key(settings)
        self.log = Log(self.log_key.name, self.sealer, self.clock)
        self.register = AddressRegister(
            self.directory, self.sealer, self.clock, self.signer.server_name, settings.replication.prefer
        )
        self.associations = Associations(self.register, self.log, self.signer, self.clock)
        self.published_log = PublishedLog(self.database, self.log_key.verifier_key, self.clock)
        self.lookup = lookup.build(settings, self.database, self.peppers, self.sealer, self.clock)
        self.sessions = Sessions(self.database, self.sealer, self.clock)
        self.sms = sms.build(settings, self.database, self.sealer, self.clock, self.limits)
        self.tokens = Tokens(self.database)
        self.outbox = Outbox(self.sealer, self.clock)
        self.sydent = self._sydent()
        self.erase_history = EraseHistory(self.log, self.signer, self.sydent.keep_tombstones)
        self.keys = keys.Builder(
            database=self.database,
            addresses=self.register,
            log=self.log,
            signer=self.signer,
            sealer=self.sealer,
            clock=self.clock,
            rate_limits=self.limits,
            outbox=self.outbox,
            erase_history=self.erase_history,
        )
        self.templates = Templates(settings.email.templates_dir)
        self.stored_invites = Invites(self.database, self.signer, self.sealer, self.clock)
        self.blocked = Blocked(*map(frozenset, (settings.invites.blocked_senders, settings.invites.blocked_recipients)))
        base_url = settings.server.public_base_url
        self.opt_outs = OptOuts(self.database, self.sealer, self.clock, url=f"{base_url}/opt-out")

    def services(self) -> Services:
        settings = self.settings
        templates_dir = settings.email.templates_dir
        bindings, peering = self._bindings(), self._peering()
        return Services(
            database=self.database,
            signer=self.signer,
            accounts=self._accounts(),
            validation=self._validation(),
            sms=self.sms,
            bindings=bindings,
            keys=self.keys.keys(self.published_log, self.lookup, peering.followed_logs),
            invites=self._invites(),
            homeservers=trusted.build(settings, bindings.bind, self.keys.register, self.limits),
            deliveries=self._deliveries(bindings.removals),
            sequencer=Sequencer(self.database, self.log_key, self.clock),
            published_log=self.published_log,
            peering=peering,
            sydent=self.sydent,
            hash_details=HashDetails(self.peppers, settings.lookup.algorithms),
            lookup=self.lookup,
            server_name=settings.server.name,
            operator=Operator(settings.operator.name.strip(), settings.operator.contact),
            public_base_url=settings.server.public_base_url,
            trusted_proxies=settings.server.trusted_proxies,
            delegate_networks=settings.homeserver_delegate.networks if settings.homeserver_delegate.enabled else (),
            page_templates_dir=str(templates_dir.absolute() / "pages") if templates_dir else None,
            next_link_origins=settings.validation.next_link_origins,
            clock=self.clock,
        )

    def _accounts(self) -> Accounts:
        terms = Terms(self.database, load_terms(self.settings.terms.file))
        slots = Slots(self.settings.server.threads)
        homeservers = self.outside.homeservers
        return Accounts(
            register=Register(self.database, homeservers, self.limits, self.clock, slots),
            authenticate=Authenticate(self.database, terms),
            authenticate_homeserver=AuthenticateHomeserver(
                server_keys=ServerKeys(homeservers, self.clock),
                own_names=self.settings.own_names,
                spend=self.limits.spend,
                clock=self.clock,
                slots=slots,
                pinned=pinned_keys(self.settings.trusted_homeservers),
            ),
            tokens=self.tokens,
            terms=terms,
        )

    def _validation(self) -> Validation:
        sending = Sending(self.sessions, self.settings.validation.next_link_origins)
        request_email_token = RequestEmailToken(
            database=self.database,
            sending=sending,
            rate_limits=self.limits,
            mailer=self.outside.mailer,
            templates=self.templates,
            server_name=self.settings.server.name,
            confirm_url=f"{self.settings.server.public_base_url}/confirm",
        )
        request_msisdn_token = RequestMsisdnToken(
            database=self.database,
            sending=sending,
            rate_limits=self.limits,
            traffic=self.sms.traffic,
            pager=self.outside.pager,
            texts=self.sms.texts,
            allowed_countries=self.sms.allowed_countries,
            slots=BoundedSemaphore(max(1, self.settings.server.threads // 4)),
        )
        # Guesses at codes stay counted where an operator switches the limits off.
        submit_token = SubmitToken(self.database, self.sessions, replace(self.limits, enabled=True), self.sms.traffic)
        return Validation(request_email_token, request_msisdn_token, submit_token, self.sessions)

    def _bindings(self) -> Bindings:
        associations, base_url = self.associations, self.settings.server.public_base_url
        removals = Removals(self.database, associations, self.outbox, self.sealer, url=f"{base_url}/remove")
        return Bindings(
            bind=Bind(self.database, self.sessions, associations, self.stored_invites, self.outbox),
            unbind=Unbind(self.database, self.sessions, associations, removals),
            removals=removals,
            mine=Mine(
                database=self.database,
                tokens=self.tokens,
                sessions=self.sessions,
                associations=associations,
                invites=self.stored_invites,
                outbox=self.outbox,
                erase_history=self.erase_history,
                forget_keys=self.keys.statements.forget,
            ),
        )

    def _invites(self) -> Invitations:
        settings = self.settings.invites
        store = StoreInvite(
            database=self.database,
            directory=self.directory,
            lookup=self.lookup,
            outbox=self.outbox,
            signer=self.signer,
            sealer=self.sealer,
            rate_limits=self.limits,
            clock=self.clock,
            blocked=self.blocked,
            lifetime_ms=settings.lifetime_days * DAY_MS,
        )
        sign = SignInvite(self.database, self.clock, self.settings.server.name)
        return Invitations(store, sign, self.stored_invites, self.opt_outs)

    def _deliveries(self, removals: Removals) -> Deliveries:
        server_name, mailer = self.settings.server.name, self.outside.mailer
        send_invite = SendInviteMail(
            database=self.database,
            opt_outs=self.opt_outs,
            blocked=self.blocked,
            sealer=self.sealer,
            clock=self.clock,
            mailer=mailer,
            templates=self.templates,
            server_name=server_name,
            sign_url=f"{self.settings.server.public_base_url}{INVITE_SIGNING_PATH}",
            client_link=self.settings.invites.client_link,
        )
        send_onbind = NotifyHomeserver(self.database, self.associations, self.stored_invites, self.outside.homeservers)
        limited = (mailer, self.templates, server_name, self.limits)
        text_keys = SendKeysText(self.outside.pager, server_name, self.limits, self.sms.allowed_countries)
        shared = (self.database, self.sealer, self.clock)
        return Deliveries(
            onbind=Deliver("onbind", send_onbind, GIVE_UP_ONBIND_AFTER_MS, *shared),
            invite_mail=Deliver("invite_mail", send_invite, GIVE_UP_MAIL_AFTER_MS, *shared),
            removal_mail=Deliver("removal_mail", SendRemovalMail(removals, *limited[:3]), GIVE_UP_MAIL_AFTER_MS, *shared),
            displaced_mail=Deliver("displaced_mail", SendDisplacedMail(*limited), GIVE_UP_MAIL_AFTER_MS, *shared),
            keys_mail=Deliver("keys_mail", SendKeysMail(*limited), GIVE_UP_MAIL_AFTER_MS, *shared),
            keys_text=Deliver("keys_text", text_keys, GIVE_UP_MAIL_AFTER_MS, *shared),
        )

    def _peering(self) -> Peering:
        return replication.Builder(
            settings=self.settings,
            database=self.database,
            signer=self.signer,
            sealer=self.sealer,
            clock=self.clock,
            registers=Registers(self.register, self.keys.register),
            log_key=self.log_key,
            published_log=self.published_log,
            outbox=self.outbox,
            key_notices=self.keys.notices,
            way_to=self.outside.way_to,
        ).peering()

    def _sydent(self) -> Sydent:
        return sydent.Builder(
            settings=self.settings,
            database=self.database,
            signer=self.signer,
            sealer=self.sealer,
            clock=self.clock,
            register=self.register,
            published_log=self.published_log,
            announce=Announce(self.outbox, self.sealer),
        ).sydent()


def _outside(settings: Settings, sealer: Sealer, signer: Signer) -> Outside:
    clock = SystemClock()
    mailer = email.build(settings.email, clock, sealer)
    pager = providers.pager(settings.sms, settings.server.public_base_url, sealer)
    homeservers = federation.build(settings.federation, clock, signer)
    return Outside(clock, mailer, homeservers, pager, lambda peer: replication.way_to(peer, clock))
