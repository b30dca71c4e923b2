"""Synapse's database, as far as the module writes to it."""

import json
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from synapse.module_api import ModuleApi

from sydent_py.synapse import tables
from sydent_py.synapse.tables import Txn

P = ParamSpec("P")
T = TypeVar("T")


class Storage:
    """Our tables. Any worker may be the first to need them, so that each looks whether they are there."""

    def __init__(self, api: ModuleApi, *, sqlite: bool) -> None:
        self._api = api
        self._sqlite = sqlite
        self._is_ready = False

    async def run(self, desc: str, work: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do ``work`` in a transaction of its own."""
        if not self._is_ready:
            await self._api.run_db_interaction("sydent_py_tables", self._create)
            self._is_ready = True
        result: T = await self._api.run_db_interaction(f"sydent_py_{desc}", work, *args, **kwargs)
        return result

    async def write(self, desc: str, work: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for whatever changes the queue: one writer at a time, whichever worker it is in."""

        def locked(txn: Txn) -> T:
            if not self._sqlite:
                tables.lock(txn)
            return work(txn, *args, **kwargs)

        return await self.run(desc, locked)

    async def note(self, name: str, value: dict[str, Any]) -> None:
        """Keep ``value`` under ``name``, for the status page of whichever worker is asked."""
        await self.run("note", _note, name, json.dumps(value))

    async def noted(self, name: str) -> dict[str, Any]:
        """What was kept under ``name``; nothing is an empty one."""
        text = await self.run("noted", _noted, name)
        return dict(json.loads(text)) if text else {}

    def _create(self, txn: Txn) -> None:
        if not self._sqlite:
            # Two processes that create a table at once can collide, "IF NOT EXISTS" or not.
            txn.execute("SELECT pg_advisory_xact_lock(?)", (0x5D3A,))
            txn.execute("SELECT to_regclass('sydent_py_errands')")
            if txn.fetchone()[0] is not None:
                return
        tables.create(txn)


def _note(txn: Txn, name: str, value: str) -> None:
    txn.execute(
        "INSERT INTO sydent_py_state (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _noted(txn: Txn, name: str) -> str | None:
    txn.execute("SELECT value FROM sydent_py_state WHERE name = ?", (name,))
    row = txn.fetchone()
    return str(row[0]) if row else None
