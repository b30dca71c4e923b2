"""A database as Synapse's is, with our tables and those of Synapse's own that we read."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from sydent_py.synapse import tables

SYNAPSE_TABLES = (
    "CREATE TABLE users (name TEXT PRIMARY KEY, deactivated SMALLINT NOT NULL DEFAULT 0)",
    "CREATE TABLE user_threepids (user_id TEXT NOT NULL, medium TEXT NOT NULL, address TEXT NOT NULL, UNIQUE (medium, address))",
    "CREATE TABLE account_data (user_id TEXT NOT NULL, account_data_type TEXT NOT NULL, content TEXT NOT NULL)",
    "CREATE TABLE event_json (event_id TEXT PRIMARY KEY, json TEXT NOT NULL)",
    """CREATE TABLE current_state_delta_stream (
        stream_id BIGINT NOT NULL, room_id TEXT NOT NULL, type TEXT NOT NULL, state_key TEXT NOT NULL, event_id TEXT,
        prev_event_id TEXT
    )""",
)


class PostgresTxn:
    """A transaction as Synapse gives it: question marks are placeholders."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str, args: Sequence[Any] = ()) -> None:
        self._cursor.execute(sql.replace("?", "%s"), args)

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> Any:
        return self._cursor.fetchall()


@pytest.fixture
def txn(engine: str, empty_database_url: str) -> Iterator[Any]:
    if engine == "sqlite":
        connection: Any = sqlite3.connect(empty_database_url.removeprefix("sqlite:///"))
        transaction: Any = connection.cursor()
    else:
        connection = psycopg.connect(empty_database_url.replace("+psycopg", ""))
        transaction = PostgresTxn(connection.cursor())
    for statement in SYNAPSE_TABLES:
        transaction.execute(statement)
    tables.create(transaction)
    tables.create(transaction)  # as every worker does
    yield transaction
    connection.close()
