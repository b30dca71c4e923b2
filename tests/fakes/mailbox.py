"""A mailer that keeps what it is given."""

import re

from sydent_py.errors import EmailSendError
from sydent_py.messaging.email import Mail


class Mailbox:
    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.broken = False

    def send(self, mail: Mail) -> None:
        if self.broken:
            raise EmailSendError
        self.mails.append(mail)

    @property
    def newest(self) -> Mail:
        assert self.mails, "no mail was sent"
        return self.mails[-1]

    def link(self) -> str:
        """The link in the newest mail."""
        return link_in(self.newest.text)


def link_in(text: str) -> str:
    """The one link in the text part of a mail, which stands on a line of its own."""
    links = [line for line in text.splitlines() if re.fullmatch(r"https?://\S+", line)]
    assert len(links) == 1, f"expected one link, found {links}"
    return links[0]
