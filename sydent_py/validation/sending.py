"""What sending a mail and sending a text message have in common: one of many identical requests sends, and is undone if it fails."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import Connection

from sydent_py import tokens
from sydent_py.accounts import presence
from sydent_py.errors import InvalidParam
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.validation import models
from sydent_py.validation.sessions import Owner, Sessions
from sydent_py.validation.submit_token import MAX_GUESSES

# A claim to send outlives the slowest mail server and SMS provider that is waited for.
CLAIM_MS = 60_000


@dataclass(frozen=True)
class Claim:
    """A session, and whether this request is the one that sends, until the claim lapses."""

    sid: str
    until_ms: int
    stands: bool


@dataclass(frozen=True)
class Sending:
    """Gives each attempt to send to one request."""

    sessions: Sessions
    next_link_origins: tuple[str, ...]

    def claim(self, owner: Owner, threepid: ThreePid, client_secret: str, send_attempt: int) -> Claim:
        """The session of owner, address and client secret, and whether nobody has made this attempt yet."""
        sessions, sealer = self.sessions, self.sessions.sealer
        now_ms = sessions.clock.now_ms()
        until_ms = now_ms + CLAIM_MS
        with sessions.database.begin() as db:
            if isinstance(owner, UserId):
                presence.require(db, owner)
            sid = models.open_session(
                db,
                sid=tokens.new_sid(),
                oldest_ms=sessions.oldest_ms(),
                now_ms=now_ms,
                most_guesses=MAX_GUESSES,
                user_id=str(owner),
                client_secret_index=sessions.client_secret_index(client_secret),
                address_index=sealer.index("validation_sessions.address", threepid.medium, threepid.address),
                medium=threepid.medium,
                address=sealer.seal(threepid.address, "validation_sessions.address"),
            )
            stands = models.claim_send(db, sid, send_attempt, now_ms=now_ms, until_ms=until_ms)
        return Claim(sid, until_ms, stands)

    @contextmanager
    def attempt(self, claim: Claim) -> Iterator[None]:
        """The block in which the message is sent. After any exception the same attempt may be made again."""
        try:
            yield
        except BaseException:
            self._settle(models.release_send, claim)
            raise
        self._settle(models.finish_send, claim)

    def put_token(
        self, db: Connection, claim: Claim, token_hash: bytes, next_link: str | None, expires_at_ms: int | None = None
    ) -> bool:
        """Make what is about to be sent the session's token: whether the claim still stands."""
        sealed = self.sessions.sealer.seal(next_link, "validation_sessions.next_link") if next_link else None
        now_ms = self.sessions.clock.now_ms()
        return models.put_token(
            db,
            claim.sid,
            claim.until_ms,
            token_hash=token_hash,
            expires_at_ms=expires_at_ms,
            next_link=sealed,
            now_ms=now_ms,
        )

    def check_next_link(self, next_link: str | None) -> None:
        """Raise ``InvalidParam`` for a ``next_link`` that this server sends nobody to."""
        if not next_link:
            return
        try:
            parts = urlsplit(next_link)
        except ValueError as error:
            raise InvalidParam("next_link is not a URL.") from error
        origin = f"{parts.scheme}://{parts.netloc.lower()}"
        plain = next_link.isascii() and next_link.isprintable() and "\\" not in next_link
        if not plain or origin not in self.next_link_origins:
            raise InvalidParam("This server sends nobody to that next_link: its origin is not in next_link_origins.")

    def _settle(self, settle: Callable[[Connection, str, int], None], claim: Claim) -> None:
        with self.sessions.database.begin() as db:
            settle(db, claim.sid, claim.until_ms)
