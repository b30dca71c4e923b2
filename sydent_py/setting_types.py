"""What the values of the configuration file may be."""

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from string import Formatter
from typing import Annotated, Any

from limits import parse_many
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sydent_py.errors import MatrixError
from sydent_py.identifiers import Network, ServerName, ThreePid, UserId

_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#@\s]+)(?P<path>(?:/[A-Za-z0-9._~/-]*)?)", re.ASCII)
_WEB_PAGE = re.compile(r"https://(?P<host>[^/?#@\s]+)(?:[/?#][\x21-\x7e]*)?", re.ASCII)
_OWN_NAME = re.compile(r"(?P<host>[^/?#@\s]+)(?:/[A-Za-z0-9._~/-]*)?", re.ASCII)
_MAILBOX = re.compile(r"(?:(?P<name>[^<>\x00-\x1f\x7f]*?)\s*<(?P<bracketed>[^<>\s]+)>|(?P<bare>[^<>\s]+))")
_DURATION = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Section(BaseModel):
    """A table of the configuration file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# What the link to a Matrix client in an invitation may hold.
LINK_FIELDS = ("room_id", "room_alias", "room_name", "room_type", "sender", "sender_name", "via", "email", "signurl")


def _server_name(value: str) -> str:
    try:
        return ServerName.parse(value).text
    except MatrixError as error:
        raise ValueError(f"{value!r} is not a server name") from error


def _rate(value: str) -> str:
    try:
        rates = parse_many(value)
    except ValueError:
        rates = []
    if not rates or any(rate.amount < 1 or rate.get_expiry() < 1 for rate in rates):
        raise ValueError(f"{value!r} is not a rate such as '5/hour' or '100/day'")
    return value


def _origin(value: str) -> str:
    match = _URL.fullmatch(value)
    if match is None or match["path"].strip("/"):
        raise ValueError(f"{value!r} is not an origin such as 'https://app.example.org'")
    return f"{match['scheme']}://{_server_name(match['host']).lower()}"


def _base_url(value: str) -> str:
    match = _URL.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a base URL such as 'https://id.example.org'")
    _server_name(match["host"])
    return value.rstrip("/")


def _listening(value: str) -> str:
    try:
        listening = value.startswith("unix:/") or ServerName.parse(value).port is not None
    except MatrixError:
        listening = False
    if not listening:
        raise ValueError(f"{value!r} is nothing to listen on, such as '127.0.0.1:8090' or 'unix:/run/socket'")
    return value


def _shared_storage(value: str) -> str:
    if value and not value.startswith(("valkey", "redis")):
        raise ValueError("storage_url must be empty, or start with valkey:// or redis://")
    return value


def _known_database(value: str) -> str:
    if value and not value.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("url must be empty, or start with sqlite:/// or postgresql+psycopg://")
    return value


def _link_template(value: str) -> str:
    """Checked here, so that no invitation fails because of it."""
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(value) if name is not None]
    except ValueError as error:
        raise ValueError(f"{value!r} has a brace without its partner") from error
    unknown = [name for name, spec, conversion in fields if name not in LINK_FIELDS or spec or conversion]
    if unknown or not {"room_id", "room_alias"} & {name for name, _, _ in fields}:
        raise ValueError(f"a link has {{room_id}} and may have {', '.join(f'{{{name}}}' for name in LINK_FIELDS)}, bare")
    if not value.startswith("https://") or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("a link must start with https:// and hold no spaces")
    return value


def _sender(value: str) -> str:
    try:
        if not value.startswith("@"):
            return ServerName.parse(value).text.lower()
        localpart, _, server = UserId.parse(value).text.partition(":")
        return f"{localpart}:{server.lower()}"
    except MatrixError as error:
        raise ValueError(f"{value!r} is neither a Matrix user ID nor a server name") from error


def _recipient(value: str) -> str:
    local = "" if "@" in value else "any@"
    try:
        return ThreePid.email(local + value).address.removeprefix(local)
    except MatrixError as error:
        raise ValueError(f"{value!r} is neither an email address nor a domain") from error


def _contact(value: str) -> str:
    page = _WEB_PAGE.fullmatch(value)
    try:
        if page is not None:
            ServerName.parse(page["host"])
            return value
        return value and ThreePid.email(value).address
    except MatrixError as error:
        raise ValueError(f"{value!r} is neither an email address nor a URL such as 'https://example.org/contact'") from error


def _own_name(value: str) -> str:
    match = _OWN_NAME.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a name such as 'id.example.org' or 'example.org/identity'")
    _server_name(match["host"])
    return value


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _network(value: Any) -> Any:
    try:
        # A bare number would be an address too.
        return ipaddress.ip_network("" if isinstance(value, int) else value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a network such as '10.1.2.0/24'") from error


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration such as '90s', '15m', '24h' or '7d'")
    return timedelta(**{_UNITS[match["unit"]]: int(match["number"])})


Name = Annotated[str, AfterValidator(_server_name)]
Rate = Annotated[str, AfterValidator(_rate)]
Origin = Annotated[str, AfterValidator(_origin)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Listening = Annotated[str, AfterValidator(_listening)]
StorageUrl = Annotated[str, AfterValidator(_shared_storage)]
DatabaseUrl = Annotated[str, AfterValidator(_known_database)]
LinkTemplate = Annotated[str, AfterValidator(_link_template)]
Sender = Annotated[str, AfterValidator(_sender)]
Recipient = Annotated[str, AfterValidator(_recipient)]
Contact = Annotated[str, AfterValidator(_contact)]
OwnName = Annotated[str, AfterValidator(_own_name)]
OptionalPath = Annotated[Path | None, BeforeValidator(_none_if_empty)]
NetworkText = Annotated[Network, BeforeValidator(_network)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Port = Annotated[int, Field(ge=1, le=65535)]


def parse_mailbox(value: str) -> tuple[str, str]:
    """The display name, possibly empty, and the one address in ``value``; ``ValueError`` for anything else."""
    match = _MAILBOX.fullmatch(value.strip())
    if match is None:
        raise ValueError("from must look like 'Identity <noreply@example.org>'")
    try:
        address = ThreePid.email(match["bracketed"] or match["bare"]).address
    except MatrixError as error:
        raise ValueError("from must hold one valid email address") from error
    return (match["name"] or "").strip().strip('"'), address


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, by its name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
