"""Starting to prove an email address (``POST /validate/email/requestToken``)."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from sqlalchemy import Connection

from sydent_py import tokens
from sydent_py.accounts import presence
from sydent_py.database import Database
from sydent_py.errors import InvalidParam
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.messaging.email import Mail, Mailer
from sydent_py.messaging.templates import Templates
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import Sealer, hash_token
from sydent_py.validation import models
from sydent_py.validation.sessions import LIFETIME_MS, Sessions

# A claim to send outlives the slowest mail server the mailer waits for.
CLAIM_MS = 60_000


@dataclass(frozen=True)
class EmailTokenRequest:
    """What a client asks for; ``email`` as it was typed."""

    client_secret: str
    email: str
    send_attempt: int
    next_link: str | None = None
    brand: str | None = None


@dataclass(frozen=True)
class Claim:
    """A session, and whether this request is the one that sends, until the claim lapses."""

    sid: str
    until_ms: int
    stands: bool


@dataclass(frozen=True)
class RequestEmailToken:
    """Sends the mail with the link that proves an address."""

    database: Database
    sessions: Sessions
    sealer: Sealer
    rate_limits: RateLimits
    mailer: Mailer
    templates: Templates
    server_name: str
    confirm_url: str
    next_link_origins: tuple[str, ...]

    def __call__(self, account: UserId, request: EmailTokenRequest, network: str) -> str:
        """The sid of the session; a mail is sent only for an attempt greater than any sent before.

        Of identical requests at the same moment one sends and all get the sid. Raises ``InvalidEmail``, ``InvalidParam``
        (next_link), ``LimitExceeded`` and ``EmailSendError``; after those two the same attempt may be made again.
        """
        threepid = ThreePid.email(request.email)
        self._check_next_link(request.next_link)
        claim = self._claim(account, threepid, request)
        if claim.stands:
            self._send_or_release(account, threepid, request, network, claim)
        return claim.sid

    def _claim(self, account: UserId, threepid: ThreePid, request: EmailTokenRequest) -> Claim:
        now_ms = self.sessions.clock.now_ms()
        until_ms = now_ms + CLAIM_MS
        with self.database.begin() as db:
            presence.require(db, account)
            sid = models.open_session(
                db,
                sid=tokens.new_sid(),
                oldest_ms=self.sessions.oldest_ms(),
                now_ms=now_ms,
                user_id=str(account),
                client_secret_index=self.sessions.client_secret_index(request.client_secret),
                address_index=self.sealer.index("validation_sessions.address", threepid.medium, threepid.address),
                medium=threepid.medium,
                address=self.sealer.seal(threepid.address, "validation_sessions.address"),
            )
            stands = models.claim_send(db, sid, request.send_attempt, now_ms=now_ms, until_ms=until_ms)
        return Claim(sid, until_ms, stands)

    def _send_or_release(
        self, account: UserId, threepid: ThreePid, request: EmailTokenRequest, network: str, claim: Claim
    ) -> None:
        """Budgets come before the new token: a mail that is refused must not make the link in the last one worthless."""
        with ExitStack() as undo:
            undo.callback(self._settle, models.release_send, claim)
            self._spend_budgets(account, threepid, network)
            link = self._new_link(claim, request.next_link)
            if link is None:
                return
            self.mailer.send(self._mail(account, threepid, request.brand, link))
            undo.pop_all()
        self._settle(models.finish_send, claim)

    def _settle(self, settle: Callable[[Connection, str, int], None], claim: Claim) -> None:
        with self.database.begin() as db:
            settle(db, claim.sid, claim.until_ms)

    def _new_link(self, claim: Claim, next_link: str | None) -> str | None:
        """The link to mail, unless the claim has lapsed. It carries all that the person needs, and not the client's secret."""
        token = tokens.new_token()
        sealed = self.sealer.seal(next_link, "validation_sessions.next_link") if next_link else None
        now_ms = self.sessions.clock.now_ms()
        with self.database.begin() as db:
            stands = models.put_token(
                db, claim.sid, claim.until_ms, token_hash=hash_token(token), next_link=sealed, now_ms=now_ms
            )
        return f"{self.confirm_url}?{urlencode({'sid': claim.sid, 'token': token})}" if stands else None

    def _spend_budgets(self, account: UserId, threepid: ThreePid, network: str) -> None:
        """From the sender's to the recipient's, so that a refused sender uses up nobody else's."""
        self.rate_limits.spend("email_per_account", str(account))
        self.rate_limits.spend("email_per_network", network)
        self.rate_limits.spend("email_per_address", str(threepid))
        self.rate_limits.spend("email_overall")

    def _mail(self, account: UserId, threepid: ThreePid, brand: str | None, link: str) -> Mail:
        return self.templates.render(
            "verify_email",
            brand,
            threepid,
            server_name=self.server_name,
            user_id=str(account),
            address=threepid.address,
            link=link,
            valid_hours=LIFETIME_MS // 3_600_000,
        )

    def _check_next_link(self, next_link: str | None) -> None:
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
