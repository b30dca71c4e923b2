"""The yardstick: the same keys, straight from the index, by the database's own driver."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import getpid

import psycopg

from sydent_py.sealing import Sealer
from tests.bench.client import WrongAnswer
from tests.bench.cpu import cpu_s
from tests.bench.databases import connect
from tests.bench.work import Plan, queries

GENERATION = 1
# PostgreSQL plans a prepared statement anew until the sixth time.
WARM_UP = 10

Select = Callable[[list[bytes]], Sequence[tuple[bytes, str]]]


@dataclass(frozen=True)
class Floor:
    """What the probes of one round cost: this process, and the database's where it has its own."""

    cpu_s: float
    backend_cpu_s: float


def probe(plan: Plan) -> Floor:
    """Select the keys of every request of ``plan``, one statement each; ``WrongAnswer`` if they are not what is bound."""
    sealer = Sealer(plan.dataset.sealing_key)
    bound = [dict(zip(sealer.lookup_keys(query), query.values(), strict=True)) for query in queries(plan)]
    keys = [list(query) for query in bound]
    with closing(connect(plan.dataset.url)) as connection:
        is_sqlite = isinstance(connection, sqlite3.Connection)
        select = _sqlite(connection) if is_sqlite else _postgresql(connection)
        backends = [] if is_sqlite else [connection.info.backend_pid]
        for some in keys[:WARM_UP]:
            select(some)
        before_s = cpu_s([getpid()]), cpu_s(backends)
        found = [select(some) for some in keys]
        floor = Floor(cpu_s([getpid()]) - before_s[0], cpu_s(backends) - before_s[1])
    for query, rows in zip(bound, found, strict=True):
        if dict(rows) != {key: user for key, user in query.items() if user is not None}:
            raise WrongAnswer("The raw probe found something else than what is bound.")
    return floor


def _sqlite(connection: sqlite3.Connection) -> Select:
    def select(keys: list[bytes]) -> list[tuple[bytes, str]]:
        marks = ",".join("?" * len(keys))
        sql = f"SELECT key, user_id FROM directory WHERE generation = ? AND key IN ({marks})"
        return connection.execute(sql, (GENERATION, *keys)).fetchall()

    return select


def _postgresql(connection: psycopg.Connection) -> Select:
    cursor = connection.cursor()

    def select(keys: list[bytes]) -> list[tuple[bytes, str]]:
        sql = "SELECT key, user_id FROM directory WHERE generation = %s AND key = ANY(%b)"
        return cursor.execute(sql, (GENERATION, keys), prepare=True).fetchall()

    return select
