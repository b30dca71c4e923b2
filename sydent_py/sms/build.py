"""Everything about text messages, built from the settings."""

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.messaging import providers, texts
from sydent_py.messaging.texts import Texts
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import Sealer
from sydent_py.settings import Settings
from sydent_py.sms.breakers import Breakers, Policy
from sydent_py.sms.status import Status
from sydent_py.sms.traffic import Traffic

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Sms:
    """What is counted, in which languages messages are written, and who may report on them."""

    traffic: Traffic
    status: Status
    texts: Texts
    signatures: providers.Signatures | None
    allowed_countries: frozenset[str]


def build(settings: Settings, database: Database, sealer: Sealer, clock: Clock, limits: RateLimits) -> Sms:
    """What ``[sms]`` describes; ``ConfigurationError`` if its files cannot be used."""
    own, public_base_url = settings.sms, settings.server.public_base_url
    policy = Policy(
        floor=own.conversion_floor,
        window_ms=own.conversion_window // _MILLISECOND,
        grace_ms=own.conversion_grace // _MILLISECOND,
        min_sends=own.conversion_min_sends,
        open_for_ms=own.breaker_open_for // _MILLISECOND,
    )
    traffic = Traffic(database, sealer, clock, Breakers(database, sealer, clock, policy))
    return Sms(
        traffic=traffic,
        status=Status(traffic, limits, own.provider, own.allowed_countries),
        texts=texts.build(own, settings.server.name, urlsplit(public_base_url).hostname or ""),
        signatures=providers.signatures(own, public_base_url),
        allowed_countries=frozenset(own.allowed_countries),
    )
