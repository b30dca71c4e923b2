"""What the configuration says of text messages: who carries them, where to, in which words, and when to stop."""

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from sydent_py.phone_numbers import COUNTRIES
from sydent_py.setting_types import BaseUrl, Duration, NetworkText, OptionalPath, Rate, Section, is_loopback

# A number, an alphanumeric sender, or a messaging service of Twilio's.
_SENDER = re.compile(r"\+[1-9][0-9]{4,14}|(?=.*[A-Za-z])[A-Za-z0-9 &_+-]{1,11}|MG[0-9a-fA-F]{32}", re.ASCII)
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", re.ASCII)


def _country(value: str) -> str:
    if value not in COUNTRIES:
        raise ValueError(f"{value!r} is not a country with phone numbers: ISO 3166-1 alpha-2, in capitals, such as 'GB'")
    return value


def _sender(value: str) -> str:
    if value and not _SENDER.fullmatch(value):
        raise ValueError(
            f"{value!r} is no sender: a number such as '+447400123456', up to 11 letters and digits, or 'MG...', a messaging service"
        )
    return value


def _host(value: str) -> str:
    if value and not _HOST.fullmatch(value):
        raise ValueError(f"{value!r} is not a host name such as 'app.example.org'")
    return value


def _text(value: str) -> str:
    if value.count("{code}") != 1 or "\n@" in value:
        raise ValueError("a text holds {code} once; the last line for browsers is added by itself")
    return value


def _language(value: str) -> str:
    if not _LANGUAGE.fullmatch(value):
        raise ValueError(f"{value!r} is not a language such as 'en' or 'pt-BR'")
    return value


Country = Annotated[str, AfterValidator(_country)]
Sender = Annotated[str, AfterValidator(_sender)]
Host = Annotated[str, AfterValidator(_host)]
Language = Annotated[str, AfterValidator(_language)]
Text = Annotated[str, AfterValidator(_text)]


class Sms(Section):
    """``[sms]``; with no ``allowed_countries`` every number is refused."""

    provider: Literal["log", "twilio"] = "log"
    allowed_countries: tuple[Country, ...] = ()
    twilio_account_sid: str = ""
    twilio_auth_token: SecretStr = SecretStr("")
    twilio_auth_token_file: OptionalPath = None
    twilio_from: Sender = ""
    twilio_base_url: BaseUrl | Literal[""] = ""
    ca_file: OptionalPath = None
    senders: dict[Country, Sender] = Field(default_factory=dict)
    service_name: str = Field(default="", pattern=r"^[^\p{C}\p{Zl}\p{Zp}{}]{0,40}$")
    webotp_host: Host = ""
    language: Language = "en"
    texts: dict[Language, Text] = Field(default_factory=dict)
    conversion_floor: float = Field(default=0.3, ge=0, le=1)
    conversion_window: Duration = timedelta(hours=24)
    conversion_grace: Duration = timedelta(minutes=3)
    conversion_min_sends: int = Field(default=10, ge=1)
    breaker_open_for: Duration = timedelta(hours=1)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.twilio_auth_token_file and self.twilio_auth_token.get_secret_value():
            raise ValueError("give twilio_auth_token or twilio_auth_token_file, not both")
        if not timedelta(0) <= self.conversion_grace < self.conversion_window or not self.breaker_open_for:
            raise ValueError(
                "conversion_grace must be shorter than conversion_window, and breaker_open_for longer than nothing"
            )
        if self.provider != "twilio":
            return self
        if not self.twilio_account_sid or not (self.twilio_auth_token_file or self.twilio_auth_token.get_secret_value()):
            raise ValueError("provider = 'twilio' needs twilio_account_sid and twilio_auth_token_file")
        unsent = [country for country in self.allowed_countries if not self.sender(country)]
        if unsent:
            raise ValueError(
                f"nobody sends to {', '.join(unsent)}: set twilio_from, or a sender for each country in senders"
            )
        url = urlsplit(self.twilio_base_url)
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            raise ValueError("twilio_base_url must start with https://: the account's secret goes there")
        return self

    def sender(self, country: str) -> str:
        """Who texts to ``country`` come from."""
        return self.senders.get(country) or self.twilio_from


class SmsLimits(Section):
    """The keys of ``[limits]`` that are about text messages."""

    sms_per_number: Rate = "3/hour; 5/day"
    sms_per_account: Rate = "5/hour; 10/day"
    sms_per_network: Rate = "10/hour; 30/day"
    sms_per_homeserver: Rate = "100/hour; 300/day"
    sms_per_prefix: Rate = "20/hour; 40/day"
    sms_per_country: Rate = "100/hour; 500/day"
    sms_overall: Rate = "1000/day"
    sms_guesses_per_number: Rate = "20/day"


class HomeserverDelegate(Section):
    """``[homeserver_delegate]``: the unauthenticated SMS endpoints for one's own homeserver."""

    enabled: bool = False
    networks: tuple[NetworkText, ...] = (ipaddress.ip_network("127.0.0.0/8"),)
