"""Appending and sequencing, and beside each the same rows written by the database's own driver."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sydent_py.log import models
from sydent_py.log.sequencer import BATCH_ENTRIES
from tests.bench.databases import connect
from tests.bench.log.build import server_of, url_of
from tests.bench.log.cost import Cost, WrongResult, cost_of

# PostgreSQL plans a prepared statement anew until the sixth time.
WARM_UP = 10
COLUMNS = [column.name for column in models.Entry.__table__.columns if column.name != "entry_index"]
# What a transaction of the product's does to the disk, and what memory it has for it.
SETTINGS = {
    "sqlite": ("synchronous", "secure_delete", "cache_size", "foreign_keys"),
    "postgresql": ("synchronous_commit",),
}


def append(config: Path, count: int) -> Cost:
    """``Log.append``, one entry a transaction."""
    with server_of(config) as server:
        payloads = [server.payload(person) for person in range(WARM_UP + count)]

        def append_all(some: list[dict[str, Any]]) -> None:
            for payload in some:
                with server.database.begin() as db:
                    server.log.append(db, "bind", payload)

        append_all(payloads[:WARM_UP])
        cost = cost_of(lambda: append_all(payloads[WARM_UP:]), count, server.backends())
    _expect(config, waiting=WARM_UP + count, placed=0)
    return cost


def insert(config: Path, source: Path, count: int) -> Cost:
    """The same rows, one a transaction."""
    names = ", ".join(COLUMNS)
    with closing(connect(url_of(source))) as db:
        rows = db.execute(f"SELECT {names} FROM log_pending ORDER BY id LIMIT {WARM_UP + count}").fetchall()
    with _durable(config) as (db, mark, begin):
        sql = f"INSERT INTO log_pending ({names}) VALUES ({', '.join([mark] * len(COLUMNS))})"

        def insert_all(some: list[tuple[Any, ...]]) -> None:
            for row in some:
                db.execute(begin)
                db.execute(sql, row)
                db.execute("COMMIT")

        insert_all(rows[:WARM_UP])
        cost = cost_of(lambda: insert_all(rows[WARM_UP:]), count, _backends_of(db))
    _expect(config, waiting=WARM_UP + count, placed=0)
    return cost


def sequence(config: Path, count: int) -> Cost:
    """The sequencer, with so many entries that wait."""
    with server_of(config) as server:
        cost = cost_of(server.sequence, count, server.backends())
        if server.published.status().checkpoint.size != count:
            raise WrongResult("Not all entries are in the tree that was signed.")
    _expect(config, waiting=0, placed=count)
    return cost


def move(config: Path, count: int) -> Cost:
    """The rows alone, as many in a transaction as the sequencer takes."""
    names = ", ".join(COLUMNS)
    with _durable(config) as (db, mark, begin):
        these = f"log_pending WHERE id > {mark} AND id <= {mark}"
        copy = f"INSERT INTO log_entries (entry_index, {names}) SELECT id - 1, {names} FROM {these} ORDER BY id"

        def move_all() -> None:
            for start in range(0, count, BATCH_ENTRIES):
                db.execute(begin)
                db.execute(copy, (start, start + BATCH_ENTRIES))
                db.execute(f"DELETE FROM {these}", (start, start + BATCH_ENTRIES))
                db.execute("COMMIT")

        cost = cost_of(move_all, count, _backends_of(db))
    _expect(config, waiting=0, placed=count)
    return cost


@contextmanager
def _durable(config: Path) -> Iterator[tuple[Any, str, str]]:
    """A connection of the driver's own with the settings of the product's transactions; its parameter's mark, and its BEGIN."""
    with server_of(config) as server, closing(connect(url_of(config))) as connection:
        is_sqlite = server.database.is_sqlite
        show, change = ("PRAGMA {}", "PRAGMA {} = {}") if is_sqlite else ("SHOW {}", "SET {} = {}")
        for name in SETTINGS["sqlite" if is_sqlite else "postgresql"]:
            with server.database.begin() as db:
                value = db.exec_driver_sql(show.format(name)).scalar_one()
            connection.execute(change.format(name, value))
        yield connection, "?" if is_sqlite else "%s", "BEGIN IMMEDIATE" if is_sqlite else "BEGIN"


def _backends_of(connection: Any) -> list[int]:
    return [] if isinstance(connection, sqlite3.Connection) else [connection.info.backend_pid]


def _expect(config: Path, *, waiting: int, placed: int) -> None:
    with closing(connect(url_of(config))) as db:
        [found] = db.execute("SELECT (SELECT count(*) FROM log_pending), (SELECT count(*) FROM log_entries)").fetchall()
    if tuple(found) != (waiting, placed):
        raise WrongResult(f"{found} entries wait and have their place, and not {waiting} and {placed}.")
