"""A pager that keeps what it is given."""

import re

from sydent_py.errors import SendError
from sydent_py.messaging.sms import TextMessage, Unanswered


class Handset:
    def __init__(self) -> None:
        self.messages: list[TextMessage] = []
        self.broken = False
        self.answers = True

    def send(self, message: TextMessage) -> None:
        if self.broken:
            raise SendError
        self.messages.append(message)
        if not self.answers:
            raise Unanswered

    @property
    def newest(self) -> TextMessage:
        assert self.messages, "no text message was sent"
        return self.messages[-1]

    def code(self) -> str:
        """The code in the newest message."""
        return code_in(self.newest.body)


def code_in(body: str) -> str:
    """The one code in a text message, which browsers find in its last line."""
    last = re.fullmatch(r"@[a-z0-9.-]+ #([0-9]{6})", body.splitlines()[-1])
    assert last, body
    assert body.count(last[1]) == 2, body
    return last[1]
