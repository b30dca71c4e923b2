"""Finishing the proof of an address: by the client, or by the person at the link."""

import hmac
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sydent_py.database import Database
from sydent_py.errors import NoValidSession, SessionExpired, TokenIncorrect
from sydent_py.identifiers import EMAIL, MSISDN, ThreePid
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import hash_token
from sydent_py.sms.traffic import Traffic
from sydent_py.validation import models
from sydent_py.validation.codes import hash_code
from sydent_py.validation.sessions import Owner, Sessions

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
    rate_limits: RateLimits
    traffic: Traffic

    def __call__(
        self, sid: str, client_secret: str, token: str, account: Owner | None, medium: str | None = None
    ) -> Confirmed:
        """Validate the session, which is of ``medium`` where one is given.

        ``account`` is who submits, or None where the specification lets anyone who holds all three secrets. Five wrong
        tokens and no more are compared, however many arrive at once; a new mail starts the count again, a new text message
        does not. Raises ``NoValidSession``, ``SessionExpired``, ``TokenIncorrect``, and for a phone number whose codes were
        guessed at too often in other sessions ``LimitExceeded``.
        """
        with self.database.begin() as db:
            session = self.sessions.find(db, sid, client_secret, account)
            if session.medium != (medium or session.medium):
                raise NoValidSession
            self._require_fresh(session)
            allowed = models.count_guess(db, sid, MAX_GUESSES)
            correct = allowed and session.medium == EMAIL and self._try(db, session, token)
        if not allowed:
            raise TokenIncorrect("Too many wrong tokens were tried. Please ask for a new one.")
        if not correct and not (session.medium == MSISDN and self._try_code(session, token)):
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
            if not self._validate(db, session):
                raise NoValidSession
        return self._confirmed(session)

    def _try_code(self, session: Any, code: str) -> bool:
        """``_try``, counted among the guesses of every session for this number, whose budget may be in another storage."""
        self.rate_limits.spend("sms_guesses_per_number", self.sessions.threepid(session).address)
        with self.database.begin() as db:
            correct = self._try(db, session, code)
            if correct:
                self.traffic.convert(db, session.sid)
        return correct

    def _try(self, db: Connection, session: Any, token: str) -> bool:
        """Validate the session if this is its token, and it has no newer one: whether it was."""
        return self._matches(session, token) and self._validate(db, session)

    def _require_fresh(self, session: Any) -> None:
        expires_at_ms = session.token_expires_at_ms
        if expires_at_ms is not None and expires_at_ms <= self.sessions.clock.now_ms():
            raise SessionExpired("This code has expired. Please ask for a new one.")

    def _linked(self, db: Connection, sid: str, token: str) -> Any:
        """The session of a mailed link. Its token has 256 bits, so that guesses need no count; a code is not taken here."""
        session = models.get(db, sid)
        if session is None or session.medium != EMAIL or not self._matches(session, token):
            raise NoValidSession
        if self.sessions.is_expired(session):
            raise SessionExpired
        return session

    def _matches(self, session: Any, token: str) -> bool:
        if session.token_hash is None:
            return False
        is_code = session.medium == MSISDN
        # People type a code as they read it to themselves: 123 456.
        hashed = hash_code(self.sessions.sealer, session.sid, token.replace(" ", "")) if is_code else hash_token(token)
        return hmac.compare_digest(session.token_hash, hashed)

    def _validate(self, db: Connection, session: Any) -> bool:
        return models.validate(db, session.sid, session.token_hash, self.sessions.clock.now_ms())

    def _confirmed(self, session: Any) -> Confirmed:
        sealed = session.next_link
        next_link = self.sessions.sealer.unseal(sealed, "validation_sessions.next_link") if sealed else None
        return Confirmed(self.sessions.threepid(session), next_link)
