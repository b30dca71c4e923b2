"""Sending mail: over SMTP, or to the terminal while no mail server is configured."""

import re
import smtplib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, formataddr
from typing import Protocol

import structlog

from sydent_py import tokens
from sydent_py.clock import Clock
from sydent_py.errors import EmailSendError, InvalidEmail
from sydent_py.identifiers import EMAIL, ThreePid
from sydent_py.messaging.mime import compose
from sydent_py.messaging.smtp import Connection, Letter, Relay, reason_of, verifying_context
from sydent_py.sealing import Sealer
from sydent_py.settings import ConfigurationError, Email

log = structlog.get_logger(__name__)

_MAILABLE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+", re.ASCII)
_RULE = "=" * 78
_PERMANENT = 500


@dataclass(frozen=True)
class Mail:
    """A mail to one address: the same words as ``text`` and as ``html``, and headers beyond those every mail has.

    ``InvalidEmail`` unless ``to`` is a canonical ASCII email address: mail libraries parse their recipients once more,
    and nothing that could be read as two addresses, or as another one, may reach them.
    """

    to: ThreePid
    subject: str
    text: str
    html: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.to.medium != EMAIL or _MAILABLE.fullmatch(self.to.address) is None:
            raise InvalidEmail


class RecipientRefused(EmailSendError):
    """The mail server says that it will never take mail to this address."""


class Mailer(Protocol):
    """Something that delivers mail."""

    def send(self, mail: Mail) -> None:
        """Hand ``mail`` over for delivery; ``EmailSendError`` if nobody took it, ``RecipientRefused`` if nobody ever will."""


@dataclass(frozen=True)
class SmtpMailer:
    """Hands each mail to ``relay`` over a connection of its own; threads may share it. Needs no Flask application.

    ``sender`` is a display name, possibly empty, and an address.
    """

    relay: Relay
    sender: tuple[str, str]
    clock: Clock
    sealer: Sealer

    def send(self, mail: Mail) -> None:
        """Return once the server has taken the mail; ``EmailSendError`` if it refuses, fails, lies or is too slow."""
        sender = self.sender[1]
        message_id = f"<{tokens.new_sid()}@{sender.rpartition('@')[2]}>"
        letter = Letter(sender, mail.to.address, self._compose(mail, message_id))
        pseudonym = self.sealer.pseudonym(mail.to.address)
        try:
            with Connection(self.relay, self.clock) as connection:
                connection.send(letter)
        except (OSError, ValueError) as error:
            log.warning("email.not_sent", address=pseudonym, **reason_of(error))
            raise RecipientRefused if _is_final(error) else EmailSendError from error
        log.info("email.sent", address=pseudonym, message_id=message_id)

    def _compose(self, mail: Mail, message_id: str) -> bytes:
        """The mail, marked as automatic so that no out-of-office note answers it (RFC 3834)."""
        headers = {
            **mail.headers,
            "From": formataddr(self.sender),
            "To": mail.to.address,
            "Subject": mail.subject,
            "Date": format_datetime(datetime.fromtimestamp(self.clock.now_ms() // 1000, UTC)),
            "Message-ID": message_id,
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
        }
        return compose(headers, mail.text, mail.html)


def _is_final(error: Exception) -> bool:
    """Whether the server refused the recipient for good (RFC 5321, 4.2.1: 5yz)."""
    if not isinstance(error, smtplib.SMTPRecipientsRefused):
        return False
    return all(code >= _PERMANENT for code, _ in error.recipients.values())


@dataclass(frozen=True)
class LogMailer:
    """Prints mail instead of sending it: for development."""

    def send(self, mail: Mail) -> None:
        """Print the text part to standard error, in one write, so that threads do not interleave."""
        lines = [
            "",
            _RULE,
            "MAIL IS NOT SENT: [email] smtp_host is empty",
            _RULE,
            f"To:      {mail.to.address}",
            f"Subject: {mail.subject}",
            "",
            mail.text.strip(),
            _RULE,
            "",
        ]
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()


def build(settings: Email, clock: Clock, sealer: Sealer) -> Mailer:
    """The mailer that ``[email]`` describes; ``ConfigurationError`` if its files cannot be used."""
    if not settings.smtp_host:
        return LogMailer()
    username, password = settings.smtp_username, settings.password
    if not (username + password).isascii():
        raise ConfigurationError(
            "email.smtp_username and email.smtp_password must be ASCII: the SMTP library sends nothing else"
        )
    sender = settings.sender_parts
    relay = Relay(
        host=settings.smtp_host.strip("[]"),
        port=settings.smtp_port,
        security=settings.smtp_security,
        tls=verifying_context(settings.ca_file),
        username=username,
        password=password,
        own_name=sender[1].rpartition("@")[2],
    )
    return SmtpMailer(relay, sender, clock, sealer)
