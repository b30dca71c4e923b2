"""Brings the database to the current schema, and tells whether it is there."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import sydent_py
from sydent_py.database import Database

_PACKAGE = Path(sydent_py.__file__).parent


def migrate(database: Database) -> None:
    """Run every migration the database has not seen, in one transaction."""
    config = _config()
    with database.begin() as db:
        config.attributes["connection"] = db
        command.upgrade(config, "head")


def is_current(db: Connection) -> bool:
    """Whether the database has exactly the schema this version was written for."""
    return MigrationContext.configure(db).get_current_revision() == head()


def is_prepared(db: Connection) -> bool:
    """Whether the database has any schema of ours."""
    return MigrationContext.configure(db).get_current_revision() is not None


@cache
def head() -> str | None:
    """The newest revision this version knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    return config


def _migrations() -> Path:
    """Inside the package where it is installed, beside it in a checkout."""
    installed = _PACKAGE / "migrations"
    return installed if installed.is_dir() else _PACKAGE.parent / "migrations"
