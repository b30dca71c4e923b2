"""Finding the session a caller speaks of, and what it proves."""

import hmac
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Connection

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import NoValidSession, SessionExpired, SessionNotValidated
from sydent_py.identifiers import MSISDN, ThreePid, UserId
from sydent_py.sealing import Sealer
from sydent_py.validation import models

# A session lives this long after it was created, sent to, or validated (Identity Service API, "Establishing associations").
LIFETIME_MS = 24 * 3_600_000


class Delegate(Enum):
    """Who asks where no account does: the homeserver that lets us send its text messages. Its sessions are its own."""

    HOMESERVER = "homeserver delegate"

    def __str__(self) -> str:
        return self.value


Owner = UserId | Delegate

_ENTER_THE_CODE = "This phone number has not been confirmed yet. Enter the code from the text message first."


@dataclass(frozen=True)
class Proof:
    """That an address was validated, and when."""

    threepid: ThreePid
    validated_at_ms: int


@dataclass(frozen=True)
class SessionSummary:
    """A session, as the account it belongs to may see it."""

    threepid: ThreePid
    modified_at_ms: int
    validated_at_ms: int | None


@dataclass(frozen=True)
class Sessions:
    """Reads validation sessions on behalf of the account and client that started them."""

    database: Database
    sealer: Sealer
    clock: Clock

    def get_validated(self, account: Owner, sid: str, client_secret: str) -> Proof:
        """What the session proves (``GET /3pid/getValidated3pid``).

        Raises ``NoValidSession``, ``SessionExpired`` or ``SessionNotValidated``.
        """
        with self.database.autocommit() as db:
            return self.proof(db, account, sid, client_secret)

    def proof(self, db: Connection, account: Owner, sid: str, client_secret: str) -> Proof:
        """``get_validated``, in the caller's transaction. A session that was spent on a bind still proves the address."""
        session = self.find(db, sid, client_secret, account)
        if session.validated_at_ms is None:
            raise SessionNotValidated(_ENTER_THE_CODE if session.medium == MSISDN else None)
        return Proof(self.threepid(session), session.validated_at_ms)

    def spend(self, db: Connection, account: UserId, sid: str, client_secret: str) -> ThreePid:
        """The address a validated session proves, once: the second time it is ``NoValidSession``."""
        proof = self.proof(db, account, sid, client_secret)
        if not models.spend(db, sid, self.clock.now_ms()):
            raise NoValidSession
        return proof.threepid

    def find(self, db: Connection, sid: str, client_secret: str, account: Owner | None) -> Any:
        """The live session with this sid and client secret, which ``account`` started, or where none is given any account.

        Unknown sid, wrong secret and foreign session are one ``NoValidSession``, found in the same steps.
        """
        session = models.get(db, sid)
        secret_index = self.client_secret_index(client_secret)
        known = session is not None and hmac.compare_digest(session.client_secret_index, secret_index)
        if session is None or not known or not _is_of(session.user_id, account):
            raise NoValidSession
        if self.is_expired(session):
            raise SessionExpired
        return session

    def is_expired(self, session: Any) -> bool:
        """Whether 24 hours have passed since the session was last modified."""
        return bool(session.modified_at_ms < self.oldest_ms())

    def oldest_ms(self) -> int:
        """Sessions modified before this moment have expired."""
        return self.clock.now_ms() - LIFETIME_MS

    def of(self, db: Connection, account: UserId) -> list[SessionSummary]:
        """The live sessions of ``account``, oldest first."""
        sessions = models.of_user(db, str(account), self.oldest_ms())
        return [SessionSummary(self.threepid(row), row.modified_at_ms, row.validated_at_ms) for row in sessions]

    def forget(self, db: Connection, account: UserId) -> int:
        """Delete every session of ``account``: how many."""
        return models.remove_of(db, str(account))

    def forget_expired(self, db: Connection) -> None:
        """Delete the sessions that nobody can use any more, a day after they expired: until then they are told apart."""
        models.forget_before(db, self.oldest_ms() - LIFETIME_MS)

    def threepid(self, session: Any) -> ThreePid:
        """The address of a session."""
        return ThreePid(session.medium, self.sealer.unseal(session.address, "validation_sessions.address"))

    def client_secret_index(self, client_secret: str) -> bytes:
        """How a client secret is stored."""
        return self.sealer.index("validation_sessions.client_secret", client_secret)


def _is_of(user_id: str, account: Owner | None) -> bool:
    return user_id != str(Delegate.HOMESERVER) if account is None else user_id == str(account)
