"""What every origin's log says of a user's keys: one chain for each user and origin."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from sydent_py import database
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.keys import models
from sydent_py.keys.chain import RESET_WAIT_MS, Broken, Chain, Link
from sydent_py.keys.statement import RESET, REVOKE, ROTATE, Statement
from sydent_py.log.leaf import Kind
from sydent_py.sealing import Sealer

# A reset, and the statement that it waits to replace.
_END = 2
# More than anybody needs: who asks for a history is sent all of it.
MAX_STATEMENTS = 256
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Stated:
    """An entry of a log that holds a statement.

    ``ts`` is the leaf's; ``nonce`` and ``payload``, canonical JSON, are what the entry commits to; ``index`` is its place in a peer's log.
    """

    statement: Statement
    ts: int
    commitment: bytes
    nonce: bytes
    payload: bytes
    index: int | None = None

    @property
    def kind(self) -> Kind:
        """The kind of its entry."""
        return "key_revoke" if self.statement.op == REVOKE else "key"


@dataclass(frozen=True, slots=True)
class Current:
    """Which statement of an origin's log counts for a user, and the reset that waits to replace it; rows of the table."""

    origin: str
    row: Any
    pending: Any | None


@dataclass(frozen=True)
class KeyRegister:
    """Keeps the chains of all origins. An origin changes its own alone."""

    sealer: Sealer
    clock: Clock
    own_origin: str

    def lock(self, db: Connection, *user_ids: str) -> None:
        """Until this transaction ends, no other one changes the chains of these users. Whoever locks addresses too locks those first."""
        database.lock(db, (self.sealer.index("keys.lock", user_id) for user_id in user_ids))

    def chain(self, db: Connection, origin: str, log: str, user_id: str) -> Chain:
        """The chain of a user, who is locked, in the log of ``origin``."""
        links = [_link(row) for row in models.ends(db, [user_id], _END) if row.origin == origin]
        head = links[-1] if links else None
        return Chain(log, user_id, head, links[0] if head and head.is_reset else None)

    def take(self, db: Connection, origin: str, log: str, stated: Stated) -> None:
        """Add a statement of a user, who is locked; ``Broken`` where it does not continue the chain.

        One that revokes deletes all the others.
        """
        statement = stated.statement
        chain = self.chain(db, origin, log, statement.user_id)
        if chain.head is None:
            self._check_ending(db, origin, stated)
        chain.add(statement, stated.ts)
        if statement.seq > MAX_STATEMENTS and statement.op in (ROTATE, RESET):
            raise Broken(f"a chain has at most {MAX_STATEMENTS} statements: revoke the keys, and publish them in a new one")
        if statement.op == REVOKE:
            models.remove(db, statement.user_id, origin)
            return
        models.add(
            db,
            user_id=statement.user_id,
            origin=origin,
            seq=statement.seq,
            master=statement.master,
            is_reset=Link(statement, stated.ts).is_reset,
            ts=stated.ts,
            commitment=stated.commitment,
            nonce=stated.nonce,
            payload=stated.payload,
            entry_index=stated.index,
        )

    def erase(self, db: Connection, origin: str, commitments: Sequence[bytes], now_ms: int) -> None:
        """Forget the chains that any of these entries of an origin's log belongs to."""
        for user_id in self.erased(db, origin, commitments):
            self.end(db, origin, user_id, now_ms)

    def erased(self, db: Connection, origin: str, commitments: Sequence[bytes]) -> list[str]:
        """Whose chains these entries belong to."""
        return sorted(models.users_of(db, origin, commitments))

    def end(self, db: Connection, origin: str, user_id: str, now_ms: int) -> int:
        """Forget a chain that was not revoked: how many statements. It takes as long as a reset until there is another one."""
        count = models.remove(db, user_id, origin)
        if count:
            models.end(db, origin, self.user_index(user_id), now_ms)
        return count

    def unproved(self, db: Connection, origin: str, size: int, limit: int) -> list[Any]:
        """Statements among the first ``size`` entries of a peer's log that have no proof yet: commitment, ``entry_index``, ``ts``."""
        return models.unproved(db, origin, size, limit)

    def keep_proof(self, db: Connection, origin: str, commitment: bytes, proof: str) -> None:
        """Keep the proof that an entry is in a peer's log, to be shown with it."""
        models.prove(db, origin, commitment, proof)

    def current(self, db: Connection, user_ids: Sequence[str]) -> dict[str, list[Current]]:
        """What counts for each of these users who has published keys, by origin: this server's own log first."""
        now_ms, found = self.clock.now_ms(), dict[str, list[Current]]()
        for before, row in _newest(models.ends(db, user_ids, _END)):
            waits = row.is_reset and now_ms < row.ts + RESET_WAIT_MS
            found.setdefault(row.user_id, []).append(Current(row.origin, before if waits else row, row if waits else None))
        for currents in found.values():
            currents.sort(key=lambda each: (each.origin != self.own_origin, each.origin))
        return found

    def differing(self, db: Connection, user_ids: Collection[str]) -> dict[str, list[Current]]:
        """Those of these users of whom origins say different things: what each says."""
        current = self.current(db, list(user_ids))
        return {user_id: of_user for user_id, of_user in current.items() if len({each.row.master for each in of_user}) > 1}

    def differences(self, database: Database, limit: int) -> dict[str, list[Current]]:
        """So many users of whom origins say different things: what each says."""
        found: dict[str, list[Current]] = {}
        after: str | None = ""
        while after is not None and len(found) < limit:
            with database.autocommit() as db:
                users = models.of_several(db, after, _AT_ONCE)
                found |= self.differing(db, users)
            after = max(users, default=None)
        return dict(list(found.items())[:limit])

    def origins(self, database: Database) -> set[str]:
        """Every other origin whose log holds statements."""
        with database.autocommit() as db:
            return models.origins(db) - {self.own_origin}

    def forget_origin(self, database: Database, origin: str) -> None:
        """Forget all that is known from the log of ``origin``."""
        with database.begin() as db:
            models.remove_origin(db, origin)

    def forget_expired(self, db: Connection) -> None:
        """Delete the challenges and the endings that mean nothing any more."""
        now_ms = self.clock.now_ms()
        models.forget_challenges_before(db, now_ms)
        models.forget_endings_before(db, now_ms - RESET_WAIT_MS)

    def user_index(self, user_id: str) -> bytes:
        """What finds a user who is not named."""
        return self.sealer.index("keys.user", user_id)

    def _check_ending(self, db: Connection, origin: str, stated: Stated) -> None:
        ended_at_ms = models.ended_at_ms(db, origin, self.user_index(stated.statement.user_id))
        if ended_at_ms is not None and stated.ts < ended_at_ms + RESET_WAIT_MS:
            raise Broken(
                "the keys before were erased and not revoked with the key: new ones can be published 72 hours later, from "
                f"{ended_at_ms + RESET_WAIT_MS} ms since the epoch on"
            )


def statement_in(payload: bytes) -> Any:
    """The statement in an entry's payload."""
    return json.loads(payload)["statement"]


def _link(row: Any) -> Link:
    return Link(Statement.parse(statement_in(row.payload)), row.ts)


def _newest(rows: Sequence[Any]) -> Iterator[tuple[Any | None, Any]]:
    """The last of each user's and origin's rows, with the one before it."""
    for _, of_chain in groupby(rows, key=lambda row: (row.user_id, row.origin)):
        *before, newest = of_chain
        yield (before[-1] if before else None), newest
