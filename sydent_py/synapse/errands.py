"""What is left to do once for a user or an invitation, kept in Synapse's database until it is done."""

import json
from dataclasses import dataclass
from typing import Any

from sydent_py.synapse.tables import Txn

BATCH = 20

PULL, REVOKE = "pull", "revoke"


@dataclass(frozen=True)
class Errand:
    """``name`` is whose errand it is, so that nobody has two of a kind."""

    kind: str
    name: str
    detail: dict[str, Any]
    attempts: int


def add(txn: Txn, kind: str, name: str, detail: dict[str, Any]) -> None:
    """Have it done as soon as possible, also where one of this name is waiting."""
    txn.execute(
        "INSERT INTO sydent_py_errands (kind, name, detail, due_ts, attempts) VALUES (?, ?, ?, 0, 0)"
        " ON CONFLICT (kind, name) DO UPDATE SET detail = excluded.detail, due_ts = 0, attempts = 0",
        (kind, name, json.dumps(detail)),
    )


def due(txn: Txn, now_ms: int) -> list[Errand]:
    """The first of those that are due."""
    txn.execute(
        "SELECT kind, name, detail, attempts FROM sydent_py_errands WHERE due_ts <= ? ORDER BY due_ts LIMIT ?",
        (now_ms, BATCH),
    )
    return [Errand(kind, name, json.loads(detail), attempts) for kind, name, detail, attempts in txn.fetchall()]


def postpone(txn: Txn, errand: Errand, due_ts: int) -> None:
    """Try again at ``due_ts``, in ms."""
    txn.execute(
        "UPDATE sydent_py_errands SET due_ts = ?, attempts = ? WHERE kind = ? AND name = ?",
        (due_ts, errand.attempts + 1, errand.kind, errand.name),
    )


def done(txn: Txn, errand: Errand) -> None:
    """It needs no more doing."""
    txn.execute("DELETE FROM sydent_py_errands WHERE kind = ? AND name = ?", (errand.kind, errand.name))


def count(txn: Txn) -> int:
    """How many are left."""
    txn.execute("SELECT COUNT(*) FROM sydent_py_errands")
    return int(txn.fetchone()[0])
