"""The server that a configuration describes, for commands that ask its database."""

from collections.abc import Iterator
from contextlib import contextmanager

from limits.errors import StorageError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sydent_py import wiring
from sydent_py.services import Services
from sydent_py.settings import ConfigurationError, Settings


@contextmanager
def services_of(settings: Settings) -> Iterator[Services]:
    """What these settings describe, if its database is ready to be asked; ``ConfigurationError``."""
    built = wiring.build(settings)
    try:
        if not built.is_ready():
            raise ConfigurationError(
                "The database is not of this version: run 'sydent-py migrate' or start the server first."
            )
        yield built
    except (OperationalError, PoolTimeoutError, StorageError) as error:
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise ConfigurationError(f"The database, or the storage of the limits, cannot be asked: {reason}") from error
    finally:
        built.close()
