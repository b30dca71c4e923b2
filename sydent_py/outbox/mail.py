"""Mail out of the outbox."""

from sydent_py.errors import EmailSendError
from sydent_py.messaging.email import Mail, Mailer, RecipientRefused
from sydent_py.outbox.deliver import TryLater, Undeliverable


def send(mailer: Mailer, mail: Mail) -> None:
    """Hand ``mail`` over; ``TryLater`` or, where the recipient is refused for good, ``Undeliverable``."""
    try:
        mailer.send(mail)
    except RecipientRefused as error:
        raise Undeliverable("the mail server refuses the recipient") from error
    except EmailSendError as error:
        raise TryLater("the mail could not be sent", unreachable=False) from error
