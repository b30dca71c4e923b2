"""Starting to prove an email address (``POST /validate/email/requestToken``)."""

from dataclasses import dataclass
from urllib.parse import urlencode

from sydent_py import tokens
from sydent_py.database import Database
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.messaging.email import Mail, Mailer
from sydent_py.messaging.templates import Templates
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import hash_token
from sydent_py.validation.sending import Claim, Sending
from sydent_py.validation.sessions import LIFETIME_MS


@dataclass(frozen=True)
class EmailTokenRequest:
    """What a client asks for; ``email`` as it was typed."""

    client_secret: str
    email: str
    send_attempt: int
    next_link: str | None = None
    brand: str | None = None


@dataclass(frozen=True)
class RequestEmailToken:
    """Sends the mail with the link that proves an address."""

    database: Database
    sending: Sending
    rate_limits: RateLimits
    mailer: Mailer
    templates: Templates
    server_name: str
    confirm_url: str

    def __call__(self, account: UserId, request: EmailTokenRequest, network: str) -> str:
        """The sid of the session; a mail is sent only for an attempt greater than any sent before.

        Of identical requests at the same moment one sends and all get the sid. Raises ``InvalidEmail``, ``InvalidParam``
        (next_link), ``LimitExceeded`` and ``EmailSendError``; after those two the same attempt may be made again.
        """
        threepid = ThreePid.email(request.email)
        self.sending.check_next_link(request.next_link)
        claim = self.sending.claim(account, threepid, request.client_secret, request.send_attempt)
        if claim.stands:
            self._send(account, threepid, request, network, claim)
        return claim.sid

    def _send(self, account: UserId, threepid: ThreePid, request: EmailTokenRequest, network: str, claim: Claim) -> None:
        """Budgets come before the new token: a mail that is refused must not make the link in the last one worthless."""
        with self.sending.attempt(claim):
            self._spend_budgets(account, threepid, network)
            link = self._new_link(claim, request.next_link)
            if link is not None:
                self.mailer.send(self._mail(account, threepid, request.brand, link))

    def _new_link(self, claim: Claim, next_link: str | None) -> str | None:
        """The link to mail, unless the claim has lapsed. It carries all that the person needs, and not the client's secret."""
        token = tokens.new_token()
        with self.database.begin() as db:
            stands = self.sending.put_token(db, claim, hash_token(token), next_link)
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
