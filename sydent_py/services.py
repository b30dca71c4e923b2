"""Every use case, built once from the settings: what the HTTP edge and the command line may call."""

from dataclasses import dataclass
from threading import BoundedSemaphore

from sydent_py import installation, rate_limits, schema
from sydent_py.accounts.authenticate import Authenticate, Logout
from sydent_py.accounts.register import Homeservers, Register
from sydent_py.accounts.terms import Terms
from sydent_py.bindings.bind import Bindings
from sydent_py.clock import Clock, SystemClock
from sydent_py.database import Database
from sydent_py.directory.lookup import HashDetails, Lookup, LookupBudgets
from sydent_py.directory.peppers import Peppers
from sydent_py.directory.publish import Directory
from sydent_py.federation import client as federation
from sydent_py.identifiers import Network
from sydent_py.log.append import Log
from sydent_py.messaging import email
from sydent_py.messaging.email import Mailer
from sydent_py.messaging.templates import Templates
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import Sealer
from sydent_py.settings import Settings, load_terms
from sydent_py.signing import Signer
from sydent_py.validation.request_email_token import RequestEmailToken
from sydent_py.validation.sessions import Sessions
from sydent_py.validation.submit_token import SubmitToken


@dataclass(frozen=True)
class Outside:
    """What a test replaces: the clock, the mail, and the homeservers."""

    clock: Clock
    mailer: Mailer
    homeservers: Homeservers


@dataclass(frozen=True)
class Accounts:
    """Registration, tokens, terms."""

    register: Register
    authenticate: Authenticate
    logout: Logout
    terms: Terms


@dataclass(frozen=True)
class Validation:
    """Proving addresses."""

    request_email_token: RequestEmailToken
    submit_token: SubmitToken
    sessions: Sessions


@dataclass(frozen=True)
class Services:
    """The whole server below its HTTP edge."""

    database: Database
    signer: Signer
    accounts: Accounts
    validation: Validation
    bindings: Bindings
    hash_details: HashDetails
    lookup: Lookup
    server_name: str
    public_base_url: str
    trusted_proxies: tuple[Network, ...]
    page_templates_dir: str | None
    next_link_origins: tuple[str, ...]
    clock: Clock

    def is_ready(self) -> bool:
        """Whether the database answers and has the schema this version was written for."""
        with self.database.autocommit() as db:
            return schema.is_current(db)

    def forget_expired(self) -> None:
        """Delete what has run out: validation sessions, rate limit windows, and the lookup budgets of past days."""
        with self.database.begin() as db:
            self.validation.sessions.forget_expired(db)
            self.lookup.forget_expired(db)
            rate_limits.forget_expired(db, self.clock.now_ms())

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()


def build(settings: Settings, outside: Outside | None = None) -> Services:
    """The services of these settings, on a database that ``installation.prepare`` has made ready.

    Raises ``ConfigurationError`` for keys, files or a database that do not fit together.
    """
    sealer, signer = installation.read_sealer(settings), installation.read_signer(settings)
    outside = outside or _outside(settings, sealer)
    clock = outside.clock
    database = installation.open_database(settings, pool_size=settings.server.threads)
    limits = rate_limits.build(settings.limits, database, sealer, clock)
    peppers = Peppers(database, sealer, clock)
    sessions = Sessions(database, sealer, clock)
    templates_dir = settings.email.templates_dir
    return Services(
        database=database,
        signer=signer,
        accounts=_accounts(settings, database, outside, limits),
        validation=_validation(settings, sessions, outside, limits),
        bindings=Bindings(database, sessions, Directory(peppers), Log(sealer, clock), signer, sealer, clock),
        hash_details=HashDetails(peppers, settings.lookup.algorithms),
        lookup=_lookup(settings, peppers),
        server_name=settings.server.name,
        public_base_url=settings.server.public_base_url,
        trusted_proxies=settings.server.trusted_proxies,
        page_templates_dir=str(templates_dir.absolute() / "pages") if templates_dir else None,
        next_link_origins=settings.validation.next_link_origins,
        clock=clock,
    )


def _accounts(settings: Settings, database: Database, outside: Outside, limits: RateLimits) -> Accounts:
    terms = Terms(database, load_terms(settings.terms.file))
    register = Register(
        database=database,
        homeservers=outside.homeservers,
        rate_limits=limits,
        clock=outside.clock,
        slots=BoundedSemaphore(max(1, settings.server.threads // 2)),
    )
    return Accounts(register, Authenticate(database, terms), Logout(database), terms)


def _validation(settings: Settings, sessions: Sessions, outside: Outside, limits: RateLimits) -> Validation:
    request_email_token = RequestEmailToken(
        database=sessions.database,
        sessions=sessions,
        sealer=sessions.sealer,
        rate_limits=limits,
        mailer=outside.mailer,
        templates=Templates(settings.email.templates_dir),
        server_name=settings.server.name,
        confirm_url=f"{settings.server.public_base_url}/confirm",
        next_link_origins=settings.validation.next_link_origins,
    )
    return Validation(request_email_token, SubmitToken(sessions.database, sessions), sessions)


def _lookup(settings: Settings, peppers: Peppers) -> Lookup:
    limits = settings.limits
    return Lookup(
        database=peppers.database,
        peppers=peppers,
        sealer=peppers.sealer,
        clock=peppers.clock,
        algorithms=settings.lookup.algorithms,
        max_addresses=settings.lookup.max_addresses,
        budgets=LookupBudgets(limits.enabled, limits.lookup_hashes_per_account, limits.lookup_hashes_per_homeserver),
    )


def _outside(settings: Settings, sealer: Sealer) -> Outside:
    clock = SystemClock()
    return Outside(clock, email.build(settings.email, clock, sealer), federation.build(settings.federation, clock))
