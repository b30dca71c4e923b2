"""Which keys users have published, with all that a client needs to believe no server."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sydent_py.database import Database
from sydent_py.directory.lookup import Lookup
from sydent_py.errors import InvalidParam, NotFound, TooLarge
from sydent_py.identifiers import UserId
from sydent_py.keys import models
from sydent_py.keys.canonical import encode_base64
from sydent_py.keys.register import KeyRegister
from sydent_py.log.published import PublishedLog

MAX_USERS = 100
MAX_ADDRESSES = 1000


@dataclass(frozen=True)
class PublishedKeys:
    """Answers by origin: this server's own log, and those of the peers that it follows; where they disagree, both are shown.

    ``logs`` are the names of the logs, by origin: what an origin that is not configured any more has said is not shown.
    """

    database: Database
    register: KeyRegister
    published_log: PublishedLog
    lookup: Lookup
    logs: Mapping[str, str]

    def of(self, user_id: str) -> dict[str, Any]:
        """The keys that count for a user; ``NotFound`` alike for users who have published none, and those nobody knows."""
        answer = self.of_many([user_id]).get(user_id)
        if answer is None:
            raise NotFound("No keys are published for this user.")
        return answer

    def of_many(self, user_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The keys that count for those of the users who have published any; ``TooLarge`` for more than 100 users."""
        if len(user_ids) > MAX_USERS:
            raise TooLarge(f"A query takes at most {MAX_USERS} users.")
        return self._answers(list(dict.fromkeys(user_ids)))

    def history(self, user_id: str) -> dict[str, Any]:
        """All that a user has stated, oldest first; ``NotFound`` as ``of``."""
        _check_storable(user_id)
        with self.database.autocommit() as db:
            rows = {origin: models.of_user(db, user_id, origin) for origin in self.logs}
        entries = self._entries([row for of_origin in rows.values() for row in of_origin])
        origins = {
            origin: {"log": self.logs[origin], "entries": [entries[row.origin, row.commitment] for row in of_origin]}
            for origin, of_origin in rows.items()
            if of_origin
        }
        if not origins:
            raise NotFound("No keys are published for this user.")
        return {"user_id": user_id, "origins": origins}

    def by_address(
        self, account: UserId, algorithm: str, pepper: str, addresses: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """Whose the hashed addresses are, and the keys that count for them, None where none are published.

        Costs and raises as a lookup of the same addresses; ``TooLarge`` for more than 1000.
        """
        if len(addresses) > MAX_ADDRESSES:
            raise TooLarge(f"A lookup of keys takes at most {MAX_ADDRESSES} addresses.")
        found = self.lookup(account, algorithm, pepper, addresses)
        keys = self._answers(sorted(set(found.values())))
        return {address: {"mxid": mxid, "keys": keys.get(mxid)} for address, mxid in found.items()}

    def _answers(self, user_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        _check_storable(*user_ids)
        with self.database.autocommit() as db:
            current = {
                user_id: [each for each in of_user if each.origin in self.logs]
                for user_id, of_user in self.register.current(db, user_ids).items()
            }
        rows = [
            row for of_user in current.values() for each in of_user for row in (each.row, each.pending) if row is not None
        ]
        entries = self._entries(rows)
        answers: dict[str, dict[str, Any]] = {}
        for user_id, of_user in current.items():
            origins = {}
            for each in of_user:
                pending = {"pending": entries[each.origin, each.pending.commitment]} if each.pending is not None else {}
                shown = {"log": self.logs[each.origin], "current": entries[each.origin, each.row.commitment]}
                origins[each.origin] = {**shown, **pending}
            if origins:
                answers[user_id] = {"user_id": user_id, "origins": origins}
        return answers

    def _entries(self, rows: Sequence[Any]) -> dict[tuple[str, bytes], dict[str, Any]]:
        """Entries as clients get them, by origin and commitment; all of our own are proved at one checkpoint."""
        own = [row.commitment for row in rows if row.origin == self.register.own_origin]
        proofs = self.published_log.proofs(own) if own else {}
        return {
            (row.origin, row.commitment): {
                "payload": json.loads(row.payload),
                "nonce": encode_base64(row.nonce),
                "proof": str(proofs[row.commitment])
                if row.origin == self.register.own_origin and row.commitment in proofs
                else row.proof,
            }
            for row in rows
        }


def _check_storable(*user_ids: str) -> None:
    """``InvalidParam`` for what PostgreSQL cannot look for."""
    if any("\x00" in user_id for user_id in user_ids):
        raise InvalidParam("A user ID has no U+0000.")
