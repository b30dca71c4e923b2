"""Our own tables in Synapse's database, on SQLite and PostgreSQL alike."""

from collections.abc import Sequence
from typing import Any, Protocol

TABLES = (
    # What the identity server knows or is to know. published: 1 it shall, 0 it shall not any more. waiting: it has to be told.
    # told: a request about it has left, so that it may know, whatever came of it.
    """CREATE TABLE IF NOT EXISTS sydent_py_bindings (
        medium TEXT NOT NULL,
        address TEXT NOT NULL,
        user_id TEXT NOT NULL,
        canonical TEXT NOT NULL,
        published SMALLINT NOT NULL,
        waiting SMALLINT NOT NULL,
        told SMALLINT NOT NULL,
        changed_ts BIGINT NOT NULL,
        seq BIGINT NOT NULL,
        due_ts BIGINT NOT NULL,
        attempts INTEGER NOT NULL,
        refusal TEXT,
        PRIMARY KEY (medium, address, user_id)
    )""",
    "CREATE INDEX IF NOT EXISTS sydent_py_bindings_waiting ON sydent_py_bindings (seq) WHERE waiting = 1",
    "CREATE INDEX IF NOT EXISTS sydent_py_bindings_user ON sydent_py_bindings (user_id)",
    """CREATE TABLE IF NOT EXISTS sydent_py_counter (
        one SMALLINT NOT NULL PRIMARY KEY,
        ts BIGINT NOT NULL,
        seq BIGINT NOT NULL
    )""",
    "CREATE TABLE IF NOT EXISTS sydent_py_state (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    # Invitations by address that users of this homeserver have sent; token is there once the event is in the room.
    """CREATE TABLE IF NOT EXISTS sydent_py_invites (
        medium TEXT NOT NULL,
        address TEXT NOT NULL,
        room_id TEXT NOT NULL,
        inviter TEXT NOT NULL,
        created_ts BIGINT NOT NULL,
        token TEXT
    )""",
    "CREATE INDEX IF NOT EXISTS sydent_py_invites_address ON sydent_py_invites (medium, address)",
    "CREATE INDEX IF NOT EXISTS sydent_py_invites_room ON sydent_py_invites (room_id, inviter)",
    # What has to be done once for a user or an invitation: kind is "pull" or "revoke".
    """CREATE TABLE IF NOT EXISTS sydent_py_errands (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        detail TEXT NOT NULL,
        due_ts BIGINT NOT NULL,
        attempts INTEGER NOT NULL,
        PRIMARY KEY (kind, name)
    )""",
)


class Txn(Protocol):
    """What is needed of Synapse's ``LoggingTransaction``: placeholders are question marks."""

    rowcount: int

    def execute(self, sql: str, args: Sequence[Any] = ...) -> Any:
        """Run one statement."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> Any:
        """The rows that are left."""


def lock(txn: Txn) -> None:
    """On PostgreSQL, wait for whoever else writes to the queue. The first statement of a transaction: it is no query, so that
    the snapshot is taken after it, and nobody has to be refused for having been second.
    """
    txn.execute("LOCK TABLE sydent_py_counter IN EXCLUSIVE MODE")


def create(txn: Txn) -> None:
    """Make the tables, where they are not there yet."""
    for statement in TABLES:
        txn.execute(statement)
    txn.execute("INSERT INTO sydent_py_counter (one, ts, seq) VALUES (1, 0, 0) ON CONFLICT DO NOTHING")
