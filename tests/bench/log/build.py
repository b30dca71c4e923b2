"""Logs of two sizes, made of the product's own pieces and kept for the next run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sydent_py import installation, settings
from sydent_py.bindings.associations import HUNDRED_YEARS_MS
from sydent_py.clock import SystemClock
from sydent_py.database import Database, chunks
from sydent_py.log.append import Log
from sydent_py.log.published import PublishedLog
from sydent_py.log.sequencer import Sequencer
from sydent_py.signing import Signer
from sydent_py.tlog.note import SigningKey
from tests.bench.databases import COMPLETE, Place, cached, place, show_progress
from tests.bench.work import address, user_id

BATCH = 1000
TS = 1_700_000_000_000
# How much smaller the small log is.
SMALLER = 10

EMPTY, WAITING, FULL, SMALL = "empty", "waiting", "full", "small"


@dataclass(frozen=True)
class Server:
    """What a server would work on the log with."""

    config: Path
    database: Database
    signer: Signer
    key: SigningKey
    log: Log
    sequence: Sequencer
    published: PublishedLog

    def payload(self, person: int) -> dict[str, Any]:
        """A signed association, as a bind logs it."""
        threepid, ts = address(person), TS + person
        return self.signer.sign(
            {
                "medium": threepid.medium,
                "address": threepid.address,
                "mxid": user_id(person),
                "ts": ts,
                "not_before": ts,
                "not_after": ts + HUNDRED_YEARS_MS,
            }
        )

    def backends(self) -> list[int]:
        """The processes of PostgreSQL that serve this one; SQLite has none."""
        if self.database.is_sqlite:
            return []
        with self.database.begin() as unit, self.database.autocommit() as statements:
            return [db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for db in (unit, statements)]


def url_of(config: Path) -> str:
    """The URL of the database in a configuration file."""
    return settings.load(config).database_url


@contextmanager
def server_of(config: Path) -> Iterator[Server]:
    """The server of a configuration file, in this process and with one connection for each use."""
    loaded, clock = settings.load(config), SystemClock()
    database, key = Database(loaded.database_url, pool_size=1), installation.read_log_key(loaded)
    try:
        yield Server(
            config,
            database,
            installation.read_signer(loaded),
            key,
            Log(key.name, installation.read_sealer(loaded), clock),
            Sequencer(database, key, clock),
            PublishedLog(database, key.verifier_key, clock),
        )
    finally:
        database.close()


@contextmanager
def logs(kind: str, entries: int, cache: Path) -> Iterator[Place]:
    """Databases with a log each: ``EMPTY``; ``WAITING``, where so many entries wait; ``FULL`` and ``SMALL``, where all have
    their place.
    """
    directory = cached(cache, f"log-{kind}-{entries}")
    with place(kind, directory) as databases:
        if not (directory / COMPLETE).exists():
            _build(databases, entries)
            (directory / COMPLETE).write_text("{}\n")
        yield databases


def _build(databases: Place, entries: int) -> None:
    installation.set_up(settings.load(databases.create(EMPTY)))
    _append(databases.copy(EMPTY, WAITING), entries, databases.kind)
    _append(databases.copy(EMPTY, SMALL), entries // SMALLER, databases.kind)
    databases.settle(WAITING)
    for config in (databases.copy(WAITING, FULL), databases.config(SMALL)):
        with server_of(config) as server:
            server.sequence()
    for name in (FULL, SMALL):
        databases.settle(name)


def _append(config: Path, entries: int, kind: str) -> None:
    with server_of(config) as server:
        for persons in chunks(list(range(entries)), BATCH):
            with server.database.begin() as db:
                for person in persons:
                    server.log.append(db, "bind", server.payload(person))
            show_progress(f"{kind}, entries of a log", persons[-1] + 1, entries, BATCH)
