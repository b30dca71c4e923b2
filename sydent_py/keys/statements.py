"""Publishing keys, and what follows: every statement is an entry of this server's log."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from canonicaljson import encode_canonical_json
from sqlalchemy import Connection

from sydent_py import tokens
from sydent_py.accounts import presence
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import Conflict, Forbidden, InvalidParam
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.keys import models
from sydent_py.keys.canonical import encode_base64
from sydent_py.keys.chain import CLOCKS_MS, RESET_WAIT_MS, Broken, Link, NotProved, Taken
from sydent_py.keys.register import KeyRegister, Stated
from sydent_py.keys.statement import CANCEL, PUBLISH, RESET, REVOKE, ROTATE, Malformed, Statement
from sydent_py.log.append import Log, Receipt
from sydent_py.log.erase import EraseHistory
from sydent_py.log.leaf import Kind
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import hash_token
from sydent_py.signing import Signer

CHALLENGE_LIFETIME_MS = 10 * 60_000
KEY_KINDS: Sequence[Kind] = ("key", "key_revoke")


class Notices(Protocol):
    """Tells people of what happens to their keys."""

    def reset(self, db: Connection, user: UserId, counts_from_ms: int) -> None:
        """A reset of their keys waits."""

    def erased(self, db: Connection, user: UserId, threepids: Sequence[ThreePid], counts_from_ms: int) -> None:
        """Their keys were erased."""

    def differ(self, db: Connection, user: UserId, origins: Sequence[str]) -> None:
        """Origins say different things about a user's keys."""


@dataclass(frozen=True)
class Challenge:
    """What the next statement of a user has to be: ``challenge`` is its nonce, ``seq`` and ``prev`` its place."""

    challenge: str
    expires_at_ms: int
    log: str
    seq: int
    prev: bytes | None

    def to_json(self) -> dict[str, Any]:
        """As clients get it: times in ms since the epoch, the hash in unpadded base64."""
        prev = None if self.prev is None else encode_base64(self.prev)
        values = {"challenge": self.challenge, "expires_at_ms": self.expires_at_ms, "log": self.log}
        return {**values, "seq": self.seq, "prev": prev}


@dataclass(frozen=True)
class MakeStatement:
    """Takes users' statements into the log.

    The access token says who asks; the signature under the challenge says that they have the key.
    """

    database: Database
    register: KeyRegister
    log: Log
    signer: Signer
    clock: Clock
    rate_limits: RateLimits
    erase_history: EraseHistory
    notices: Notices

    def challenge(self, account: UserId) -> Challenge:
        """A challenge for the next statement of ``account``; ``LimitExceeded``."""
        self.rate_limits.spend("key_statements_per_account", str(account))
        challenge, expires_at_ms = tokens.new_token(), self.clock.now_ms() + CHALLENGE_LIFETIME_MS
        with self.database.begin() as db:
            presence.require(db, account)
            models.challenge(db, hash_token(challenge), self.register.user_index(str(account)), expires_at_ms)
            seq, prev = self.register.chain(db, self._origin, self.log.origin, str(account)).next_place
        return Challenge(challenge, expires_at_ms, self.log.origin, seq, prev)

    def publish(self, account: UserId, user_id: str, content: Any) -> tuple[Receipt, int | None]:
        """Take a statement that publishes, rotates or resets keys: its receipt, and from when a reset counts, in ms since the epoch.

        Raises ``Forbidden`` (not this account's, no proof of possession), ``InvalidParam`` (no statement, or none that continues
        the chain) and ``Conflict`` (another statement has its place).
        """
        _require_own(account, user_id)
        statement = self._read(user_id, content, PUBLISH, ROTATE, RESET)
        with self.database.begin() as db:
            self._admit(db, account, statement)
            receipt = self._take(db, statement, "key")
            if statement.op == PUBLISH:
                self._tell_of_others(db, account)
            if statement.op != RESET:
                return receipt, None
            counts_from_ms = Link(statement, receipt.ts).counts_from_ms
            self.notices.reset(db, UserId.parse(user_id), counts_from_ms)
            return receipt, counts_from_ms

    def cancel(self, user_id: str, content: Any) -> Receipt:
        """Take a statement that cancels a reset. It needs no access token, which may be what was stolen: the old key is the proof.

        Raises as ``publish``.
        """
        statement = self._read(user_id, content, CANCEL)
        with self.database.autocommit() as db, _refusals():
            # Whoever has no account makes nobody wait for a transaction that comes to nothing.
            self.register.chain(db, self._origin, self.log.origin, user_id).add(statement, self.clock.now_ms())
        with self.database.begin() as db:
            self.register.lock(db, user_id)
            return self._take(db, statement, "key")

    def revoke(self, account: UserId, user_id: str, content: Any) -> None:
        """Take a statement that ends the chain, and erase all of it. Raises as ``publish``."""
        _require_own(account, user_id)
        statement = self._read(user_id, content, REVOKE)
        with self.database.begin() as db:
            self._admit(db, account, statement)
            self._take(db, statement, "key_revoke")
            self.erase_history(db, account, KEY_KINDS)

    def forget(self, db: Connection, account: UserId, threepids: Sequence[ThreePid]) -> int:
        """Forget the keys of an account that is deleted, and tell it at its addresses ``threepids``: how many statements.

        The caller erases the account's entries of the log.
        """
        self.register.lock(db, str(account))
        models.forget_challenges(db, self.register.user_index(str(account)))
        now_ms = self.clock.now_ms()
        count = self.register.end(db, self._origin, str(account), now_ms)
        if count:
            self.notices.erased(db, account, threepids, now_ms + RESET_WAIT_MS)
        return count

    @property
    def _origin(self) -> str:
        return self.signer.server_name

    def _read(self, user_id: str, content: Any, *ops: str) -> Statement:
        try:
            statement = Statement.parse(content)
        except Malformed as error:
            raise InvalidParam(f"This is not a statement of keys: {error}.") from error
        if statement.user_id != user_id:
            raise InvalidParam("The statement is of another user than the path names.")
        if statement.op not in ops:
            raise InvalidParam(f'The "op" of a statement sent here is {" or ".join(ops)}.')
        if abs(statement.ts - self.clock.now_ms()) > CLOCKS_MS:
            raise InvalidParam(
                f'"ts" must be the time in ms, and ours is {self.clock.now_ms()}: is one of the clocks wrong?'
            )
        return statement

    def _admit(self, db: Connection, account: UserId, statement: Statement) -> None:
        presence.require(db, account)
        self.register.lock(db, str(account))
        index = self.register.user_index(str(account))
        if not models.spend_challenge(db, hash_token(statement.nonce), index, self.clock.now_ms()):
            raise Forbidden(
                'The "nonce" must be a challenge that this account was given, and has not used: ask for a new one.'
            )

    def _take(self, db: Connection, statement: Statement, kind: Kind) -> Receipt:
        payload = self.signer.sign({"mxid": statement.user_id, "statement": json.loads(statement.encoded)})
        receipt = self.log.append(db, kind, payload)
        encoded = encode_canonical_json(payload)
        stated = Stated(statement, receipt.ts, receipt.commitment, receipt.nonce, encoded)
        with _refusals():
            self.register.take(db, self._origin, self.log.origin, stated)
        return receipt

    def _tell_of_others(self, db: Connection, account: UserId) -> None:
        """Tell a user who publishes here that another origin has said something else before, perhaps in their name."""
        for said in self.register.differing(db, [str(account)]).values():
            self.notices.differ(db, account, [each.origin for each in said])


@contextmanager
def _refusals() -> Iterator[None]:
    """What is wrong with a statement, as it is told."""
    try:
        yield
    except NotProved as error:
        raise Forbidden(f"The statement does not prove that the key is yours: {error}.") from error
    except Taken as error:
        raise Conflict(f"The statement has no place: {error}.") from error
    except Broken as error:
        raise InvalidParam(f"The statement does not continue the chain: {error}.") from error


def _require_own(account: UserId, user_id: str) -> None:
    if str(account) != user_id:
        raise Forbidden("An account can publish its own keys alone.")
