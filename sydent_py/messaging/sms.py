"""Sending text messages: through a provider, or to the terminal while none is configured."""

import sys
from dataclasses import dataclass
from typing import Protocol

from sydent_py.errors import SendError
from sydent_py.phone_numbers import PhoneNumber

CALLBACK_PATH = "/_matrix/identity/unstable/sydent_py/sms/status"
"""Where providers report what became of a message."""

_RULE = "=" * 78


@dataclass(frozen=True)
class TextMessage:
    """A text to one number. ``ref`` is what the provider's reports on it are known by."""

    to: PhoneNumber
    body: str
    ref: str


class Unanswered(SendError):
    """Nobody knows whether the provider took the message: it may arrive, and it may cost."""


class Pager(Protocol):
    """Something that delivers text messages."""

    def send(self, message: TextMessage) -> None:
        """Hand ``message`` over for delivery; ``SendError`` if nobody took it, ``DestinationRejected`` if nobody ever would.

        ``Unanswered`` where it may have been taken.
        """


@dataclass(frozen=True)
class LogPager:
    """Prints text messages instead of sending them: for development."""

    def send(self, message: TextMessage) -> None:
        """Print the message to standard error, in one write, so that threads do not interleave."""
        lines = [
            "",
            _RULE,
            'TEXT MESSAGE IS NOT SENT: [sms] provider is "log"',
            _RULE,
            f"To:      {message.to.international}",
            "",
            message.body,
            _RULE,
            "",
        ]
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
