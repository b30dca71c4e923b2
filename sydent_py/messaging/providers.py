"""Who carries text messages, as the configuration says."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from sydent_py.messaging.sms import LogPager, Pager
from sydent_py.sealing import Sealer
from sydent_py.sms_settings import Sms


class Signatures(Protocol):
    """Tells the provider's reports from everybody else's."""

    def verify(self, query: str, fields: Mapping[str, str], signature: str) -> bool:
        """Whether the provider signed a form that was posted to our callback URL with this raw query."""


def pager(settings: Sms, public_base_url: str, sealer: Sealer) -> Pager:
    """What sends; ``ConfigurationError`` if its files cannot be used."""
    if settings.provider == "log":
        return LogPager()
    return cast(Pager, _twilio().build(settings, public_base_url, sealer))


def signatures(settings: Sms, public_base_url: str) -> Signatures | None:
    """What verifies reports, where the provider sends any."""
    if settings.provider == "log":
        return None
    return cast(Signatures, _twilio().signatures(settings, public_base_url))


def _twilio() -> Any:
    """Loaded where it is used alone: Twilio's library takes five megabytes of each process."""
    return import_module("sydent_py.messaging.twilio")
