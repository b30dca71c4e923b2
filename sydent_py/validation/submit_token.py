"""Finishing the proof of an address: by the client, or by the person at the link."""

import hmac
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sydent_py.database import Database
from sydent_py.errors import NoValidSession, SessionExpired, TokenIncorrect
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.sealing import hash_token
from sydent_py.validation import models
from sydent_py.validation.sessions import Sessions

MAX_GUESSES = 5


@dataclass(frozen=True)
class Pending:
    """What a link is about: the address, the account that asked, and whether it is confirmed already."""

    threepid: ThreePid
    user_id: str
    is_validated: bool


@dataclass(frozen=True)
class Confirmed:
    """An address that is validated now, and where the client wants the person to go on to, if anywhere."""

    threepid: ThreePid
    next_link: str | None


@dataclass(frozen=True)
class SubmitToken:
    """Takes the token that only a reader of the message knows."""

    database: Database
    sessions: Sessions

    def __call__(self, sid: str, client_secret: str, token: str, account: UserId | None) -> Confirmed:
        """Validate the session.

        ``account`` is who submits, or None where the specification lets anyone who holds all three secrets. Five wrong
        tokens and no more are compared, however many arrive at once; a new message starts the count again. Raises
        ``NoValidSession``, ``SessionExpired`` and ``TokenIncorrect``.
        """
        with self.database.begin() as db:
            session = self.sessions.find(db, sid, client_secret, account)
            allowed = models.count_guess(db, sid, MAX_GUESSES)
            correct = allowed and _matches(session, token) and self._validate(db, sid, token)
        if not allowed:
            raise TokenIncorrect("Too many wrong tokens were tried. Please ask for a new one.")
        if not correct:
            raise TokenIncorrect
        return self._confirmed(session)

    def describe(self, sid: str, token: str) -> Pending:
        """What pressing the button at this link would do; it changes nothing, so that a scanner may open it.

        Raises ``NoValidSession`` (also for a wrong token: the page shows an address) and ``SessionExpired``.
        """
        with self.database.autocommit() as db:
            session = self._linked(db, sid, token)
        return Pending(self.sessions.threepid(session), session.user_id, session.validated_at_ms is not None)

    def confirm(self, sid: str, token: str) -> Confirmed:
        """Validate the session of a mailed link, whose button was pressed; raises as ``describe`` does."""
        with self.database.begin() as db:
            session = self._linked(db, sid, token)
            if not self._validate(db, sid, token):
                raise NoValidSession
        return self._confirmed(session)

    def _linked(self, db: Connection, sid: str, token: str) -> Any:
        """The session of a mailed link. Its token has 256 bits, so that guesses need no count."""
        session = models.get(db, sid)
        if session is None or not _matches(session, token):
            raise NoValidSession
        if self.sessions.is_expired(session):
            raise SessionExpired
        return session

    def _validate(self, db: Connection, sid: str, token: str) -> bool:
        return models.validate(db, sid, hash_token(token), self.sessions.clock.now_ms())

    def _confirmed(self, session: Any) -> Confirmed:
        sealed = session.next_link
        next_link = self.sessions.sealer.unseal(sealed, "validation_sessions.next_link") if sealed else None
        return Confirmed(self.sessions.threepid(session), next_link)


def _matches(session: Any, token: str) -> bool:
    return session.token_hash is not None and hmac.compare_digest(session.token_hash, hash_token(token))
