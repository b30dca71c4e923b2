"""Every use case, built once from the settings: what the HTTP edge and the command line may call."""

from dataclasses import dataclass
from threading import BoundedSemaphore

from alembic.util import CommandError
from sqlalchemy.exc import ArgumentError, DatabaseError

from sydent_py import rate_limits, schema, sealing, signing
from sydent_py.accounts.authenticate import Authenticate, Logout
from sydent_py.accounts.register import Homeservers, Register
from sydent_py.accounts.terms import Terms
from sydent_py.bindings.bind import Bindings
from sydent_py.clock import Clock, SystemClock
from sydent_py.database import Database
from sydent_py.directory.lookup import HashDetails, Lookup, LookupBudgets
from sydent_py.directory.peppers import Peppers, SealingKeyMismatch
from sydent_py.directory.publish import Directory
from sydent_py.federation import client as federation
from sydent_py.files import KeyFileError
from sydent_py.identifiers import Network
from sydent_py.log.append import Log
from sydent_py.messaging import email
from sydent_py.messaging.email import Mailer
from sydent_py.messaging.templates import Templates
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import Sealer
from sydent_py.settings import ConfigurationError, Settings, load_terms
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
    """The services of these settings, on a database that ``prepare`` has made ready.

    Raises ``ConfigurationError`` for keys, files or a database that do not fit together.
    """
    sealer, signer = _sealer(settings), _signer(settings)
    outside = outside or _outside(settings, sealer)
    clock = outside.clock
    database = _database(settings, pool_size=settings.server.threads)
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


def is_in_use(settings: Settings) -> bool:
    """Whether the database has been prepared before; a database that cannot be asked is not."""
    database = _database(settings, pool_size=1)
    try:
        with database.autocommit() as db:
            return schema.is_prepared(db)
    except DatabaseError:
        return False
    finally:
        database.close()


def prepare(settings: Settings, clock: Clock | None = None) -> None:
    """Migrate the database, and make sure of its first pepper.

    Raises ``ConfigurationError`` when the sealing key is not the one the database was made with.
    """
    clock = clock or SystemClock()
    sealer = _sealer(settings)
    database = _database(settings, pool_size=1)
    try:
        schema.migrate(database)
        Peppers(database, sealer, clock).prepare()
        with database.begin() as db:  # a write, which a database that is read-only to us refuses
            rate_limits.forget_expired(db, clock.now_ms())
    except SealingKeyMismatch as error:
        raise ConfigurationError(
            f"{settings.sealing_key_path} is not the sealing key that this database was made with: no address in it could be "
            "read or found. Put the right key back, or start with an empty database."
        ) from error
    except (DatabaseError, CommandError) as error:
        where = database.url.render_as_string(hide_password=True)
        reason = getattr(error, "orig", error)
        raise ConfigurationError(f"The database {where} cannot be used: {reason}") from error
    finally:
        database.close()


def _database(settings: Settings, pool_size: int) -> Database:
    try:
        return Database(settings.database_url, pool_size)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError("database.url is not the URL of a database") from error


def _sealer(settings: Settings) -> Sealer:
    try:
        return Sealer(sealing.read_key_file(settings.sealing_key_path))
    except KeyFileError as error:
        raise ConfigurationError(str(error)) from error


def _signer(settings: Settings) -> Signer:
    try:
        return Signer(settings.server.name, signing.read_key_file(settings.signing_key_path))
    except KeyFileError as error:
        raise ConfigurationError(str(error)) from error


def _outside(settings: Settings, sealer: Sealer) -> Outside:
    clock = SystemClock()
    return Outside(clock, email.build(settings.email, clock, sealer), federation.build(settings.federation, clock))
