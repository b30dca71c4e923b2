"""What a server keeps on disk: its keys and its database, made ready."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import ArgumentError, DatabaseError

from sydent_py import rate_limits, schema, sealing, signing
from sydent_py.clock import Clock, SystemClock
from sydent_py.database import Database
from sydent_py.directory.peppers import Peppers, SealingKeyMismatch
from sydent_py.files import KeyFileError
from sydent_py.invites.invites import Invites
from sydent_py.log import sequencer
from sydent_py.log.append import Log
from sydent_py.log.sequencer import NotThisLog, Sequencer
from sydent_py.sealing import Sealer
from sydent_py.settings import ConfigurationError, Settings
from sydent_py.signing import Signer
from sydent_py.tlog.note import SigningKey as LogKey

log = structlog.get_logger(__name__)


def set_up(settings: Settings) -> list[Path]:
    """Make everything a new server needs; what is there is left alone, and what is missing of an old one is not replaced.

    Returns the key files it created. Raises ``ConfigurationError``.
    """
    os.umask(0o077)
    directory = settings.server.data_dir.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        created = _create_missing_keys(settings)
    except OSError as error:
        raise ConfigurationError(f"The data directory {directory} cannot be used: {error.strerror}.") from error
    prepare(settings)
    return created


def _create_missing_keys(settings: Settings) -> list[Path]:
    keys = (
        (settings.signing_key_path, signing.create_key_file, schema.is_prepared),
        (settings.sealing_key_path, sealing.create_key_file, schema.is_prepared),
        (settings.log_key_path, signing.create_key_file, sequencer.exists),
    )
    missing = {path.absolute(): create for path, create, _ in keys if not path.exists()}
    lost = [path.absolute() for path, _, is_in_use in keys if not path.exists() and _ask(settings, is_in_use)]
    if lost:
        names = " and ".join(map(str, lost))
        raise ConfigurationError(f"{names} is missing, but the database was made with it. Put it back from your backup.")
    created = []
    for path, create in missing.items():
        # Another server that starts in the same directory may be faster; then its key is ours.
        with suppress(FileExistsError):
            create(path)
            created.append(path)
    return created


def _ask(settings: Settings, is_in_use: Callable[[Connection], bool]) -> bool:
    """What the database says; one that cannot be asked has never been used."""
    database = open_database(settings, pool_size=1)
    try:
        with database.autocommit() as db:
            return is_in_use(db)
    except DatabaseError:
        return False
    finally:
        database.close()


def prepare(settings: Settings, clock: Clock | None = None) -> None:
    """Migrate the database, and make sure of its first pepper.

    Raises ``ConfigurationError`` when the sealing key is not the one the database was made with.
    """
    clock = clock or SystemClock()
    sealer = read_sealer(settings)
    database = open_database(settings, pool_size=1)
    try:
        schema.migrate(database)
        Peppers(database, sealer, clock).prepare()
        _prepare_log(settings, database, sealer, clock)
        _tell_of_lost_keys(settings, database, sealer, clock)
        with database.begin() as db:  # a write, which a database that is read-only to us refuses
            rate_limits.forget_expired(db, clock.now_ms())
    except SealingKeyMismatch as error:
        raise ConfigurationError(
            f"{settings.sealing_key_path} is not the sealing key that this database was made with: no address in it could be "
            "read or found. Put the right key back, or start with an empty database."
        ) from error
    except NotThisLog as error:
        raise ConfigurationError(
            f"{error} A log is never continued under another name or key: nobody could tell it from a forgery. Put the name in "
            f"[server] name and the key in {settings.log_key_path} back, or start with an empty database."
        ) from error
    except (DatabaseError, CommandError) as error:
        where = database.url.render_as_string(hide_password=True)
        reason = getattr(error, "orig", error)
        raise ConfigurationError(f"The database {where} cannot be used: {reason}") from error
    finally:
        database.close()


def _prepare_log(settings: Settings, database: Database, sealer: Sealer, clock: Clock) -> None:
    key = read_log_key(settings)
    Sequencer(database, key, clock).prepare()
    with database.begin() as db:
        Log(key.name, sealer, clock).complete(db)


def _tell_of_lost_keys(settings: Settings, database: Database, sealer: Sealer, clock: Clock) -> None:
    """Say so where a key was taken away that invitations wait for."""
    invites = Invites(database, read_signer(settings), sealer, clock)
    with database.autocommit() as db:
        for public_key in invites.lost_keys(db):
            log.warning(
                "invites.key_is_gone", public_key=public_key, advice="put its line back into signing.key, below the first"
            )


def open_database(settings: Settings, pool_size: int) -> Database:
    """The database of the configuration; ``ConfigurationError`` for a URL that names none."""
    try:
        return Database(settings.database_url, pool_size)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError("database.url is not the URL of a database") from error


def read_sealer(settings: Settings) -> Sealer:
    """The sealing key in the data directory; ``ConfigurationError`` where it cannot be used."""
    try:
        return Sealer(sealing.read_key_file(settings.sealing_key_path))
    except KeyFileError as error:
        raise ConfigurationError(str(error)) from error


def read_signer(settings: Settings) -> Signer:
    """The signing keys in the data directory; ``ConfigurationError`` where they cannot be used."""
    try:
        return Signer(settings.server.name, signing.read_key_file(settings.signing_key_path))
    except KeyFileError as error:
        raise ConfigurationError(str(error)) from error


def read_log_key(settings: Settings) -> LogKey:
    """The key of the log in the data directory, in the name of the log; ``ConfigurationError`` where it cannot be used."""
    try:
        key, *others = signing.read_key_file(settings.log_key_path)
    except KeyFileError as error:
        raise ConfigurationError(str(error)) from error
    if others:
        raise ConfigurationError(f"{settings.log_key_path} holds several keys; a log has one.")
    return LogKey(f"{settings.server.name}/log", bytes(key))
