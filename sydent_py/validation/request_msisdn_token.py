"""Starting to prove a phone number (``POST /validate/msisdn/requestToken``)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore

from sydent_py import tokens
from sydent_py.database import Database
from sydent_py.errors import DestinationRejected, LimitExceeded, MatrixError
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.messaging.sms import Pager, TextMessage, Unanswered
from sydent_py.messaging.texts import Texts
from sydent_py.phone_numbers import PhoneNumber
from sydent_py.rate_limits import RateLimits
from sydent_py.sms.traffic import Traffic
from sydent_py.validation.codes import CODE_LIFETIME_MS, hash_code
from sydent_py.validation.sending import Claim, Sending
from sydent_py.validation.sessions import Delegate, Owner

WAIT_FOR_SLOT_S = 0.2
RETRY_AFTER_MS = 5_000


@dataclass(frozen=True)
class MsisdnTokenRequest:
    """What a client asks for; ``phone_number`` as it was typed, ``language`` one of the texts'."""

    client_secret: str
    country: str
    phone_number: str
    send_attempt: int
    next_link: str | None = None
    language: str = ""


@dataclass(frozen=True)
class Requested:
    """The session, and the number as it was understood."""

    sid: str
    number: PhoneNumber


@dataclass(frozen=True)
class RequestMsisdnToken:
    """Sends the text message with the code that proves a phone number.

    ``slots`` are the threads that may wait for the provider at once: should it hang, the others answer everyone else.
    """

    database: Database
    sending: Sending
    rate_limits: RateLimits
    traffic: Traffic
    pager: Pager
    texts: Texts
    allowed_countries: frozenset[str]
    slots: BoundedSemaphore

    def __call__(self, owner: Owner, request: MsisdnTokenRequest, network: str) -> Requested:
        """A message is sent only for an attempt greater than any sent before.

        Of identical requests at the same moment one sends and all get the sid. Raises ``InvalidPhoneNumber``,
        ``InvalidParam`` (country, next_link), ``DestinationRejected``, ``LimitExceeded`` and ``SendError``; after the last three
        the same attempt may be made again.
        """
        number = PhoneNumber.parse(request.phone_number, request.country)
        if number.country not in self.allowed_countries or not number.is_texted:
            raise DestinationRejected
        self.sending.check_next_link(request.next_link)
        claim = self.sending.claim(owner, ThreePid.phone(number), request.client_secret, request.send_attempt)
        if claim.stands:
            self._send(owner, number, request, network, claim)
        return Requested(claim.sid, number)

    def _send(self, owner: Owner, number: PhoneNumber, request: MsisdnTokenRequest, network: str, claim: Claim) -> None:
        """Everything that may refuse comes before the new code, so that the last one stays good if it does."""
        with self.sending.attempt(claim):
            self._spend_sender(owner, network)
            self.traffic.require_open(number)
            self._spend_recipient(number)
            with self._slot():
                message = self._new_message(claim, number, request)
                if message is not None:
                    self._hand_over(message)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self.slots.acquire(timeout=WAIT_FOR_SLOT_S):
            raise LimitExceeded(RETRY_AFTER_MS, "Too many text messages are under way. Please try again in a moment.")
        try:
            yield
        finally:
            self.slots.release()

    def _new_message(self, claim: Claim, number: PhoneNumber, request: MsisdnTokenRequest) -> TextMessage | None:
        """The message, counted before it is sent, unless the claim has lapsed."""
        code, sessions = tokens.new_code(), self.sending.sessions
        expires_at_ms = sessions.clock.now_ms() + CODE_LIFETIME_MS
        with self.database.begin() as db:
            token_hash = hash_code(sessions.sealer, claim.sid, code)
            if not self.sending.put_token(db, claim, token_hash, request.next_link, expires_at_ms):
                return None
            ref = self.traffic.begin(db, number, claim.sid)
        return TextMessage(number, self.texts.write(code, request.language), ref)

    def _hand_over(self, message: TextMessage) -> None:
        try:
            self.pager.send(message)
        except Unanswered:
            with self.database.begin() as db:
                self.traffic.finish(db, message.to)
            raise
        except MatrixError:
            with self.database.begin() as db:
                self.traffic.cancel(db, message.to, message.ref)
            raise
        with self.database.begin() as db:
            self.traffic.finish(db, message.to)

    def _spend_sender(self, owner: Owner, network: str) -> None:
        """The sender's budgets first, so that a refused sender uses up nobody else's."""
        spend = self.rate_limits.spend
        if isinstance(owner, UserId):
            spend("sms_per_account", str(owner))
            spend("sms_per_network", network)
        # The host alone: its owner serves every port of it, in every spelling.
        spend("sms_per_homeserver", str(owner) if isinstance(owner, Delegate) else owner.server.host.lower())

    def _spend_recipient(self, number: PhoneNumber) -> None:
        """None of them while any is used up: what cannot be sent for another reason must not cost a number its share."""
        budgets = [("sms_per_number", number.digits), ("sms_per_prefix", number.prefix)]
        budgets += [("sms_per_country", number.country), ("sms_overall", "")]
        for budget, subject in budgets:
            self.rate_limits.require(budget, subject)
        for budget, subject in budgets:
            self.rate_limits.spend(budget, subject)
