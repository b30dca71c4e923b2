"""Telling a homeserver that one of its users has bound an address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sydent_py.federation.client import Refused
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.identifiers import ServerName
from sydent_py.outbox.deliver import TryLater, Undeliverable


class Homeservers(Protocol):
    """Whom to tell."""

    def onbind(self, server: ServerName, content: Mapping[str, Any]) -> None:
        """Notify ``server``; ``Refused`` for good, or ``RequestFailed``."""


@dataclass(frozen=True)
class NotifyHomeserver:
    """Delivers what the outbox holds for homeservers (Server-Server API, ``PUT /3pid/onbind``)."""

    homeservers: Homeservers

    def __call__(self, content: dict[str, Any], destination: str) -> None:
        """Notify ``destination``; ``TryLater`` or ``Undeliverable``."""
        try:
            self.homeservers.onbind(ServerName.parse(destination), content)
        except Refused as refusal:
            raise Undeliverable(str(refusal)) from refusal
        except RequestFailed as failure:
            # An answer that is an error may be about one invitation; anything else is about the whole homeserver.
            raise TryLater(str(failure.reason), unreachable=failure.reason is not Reason.STATUS) from failure
