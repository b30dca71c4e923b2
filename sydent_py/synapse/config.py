"""What ``config:`` of the module in homeserver.yaml may say; everything is off unless it is turned on."""

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sydent_py.synapse.reading import Misconfigured, Reader

MEDIA = ("email", "msisdn")
OPT_OUT, OPT_IN = "opt_out", "opt_in"


@dataclass(frozen=True)
class Server:
    """The identity server. ``name`` is what it signs as, ``url`` has neither path nor final slash."""

    url: str
    name: str
    ca_file: str
    signing_key_path: str
    timeout_s: int


@dataclass(frozen=True)
class Publishing:
    """``publish``: which addresses of users the identity server is told. ``domains`` are of email; empty is any."""

    media: tuple[str, ...]
    domains: tuple[str, ...]
    consent: str
    reconcile_hours: int
    dry_run: bool

    @property
    def is_on(self) -> bool:
        """Whether any is."""
        return bool(self.media)


@dataclass(frozen=True)
class Lookups:
    """``lookups``: what the identity server is asked while a user waits."""

    people_search: bool
    login: bool
    media: tuple[str, ...]
    timeout_ms: int
    per_user_per_hour: int

    @property
    def is_on(self) -> bool:
        """Whether it is asked at all."""
        return self.people_search or self.login


@dataclass(frozen=True)
class Invites:
    """``invites``: who may be invited by address, and what becomes of invitations. 0 a day is no limit."""

    allowed_domains: tuple[str, ...]
    denied_domains: tuple[str, ...]
    per_user_per_day: int
    revoke: bool
    pull: bool
    join: bool

    @property
    def has_policy(self) -> bool:
        """Whether any invitation is refused."""
        return bool(self.allowed_domains or self.denied_domains or self.per_user_per_day)


@dataclass(frozen=True)
class Registration:
    """``registration``: with which addresses people may register here."""

    require_invite: bool
    domains: tuple[str, ...]
    invite_days: int


@dataclass(frozen=True)
class Keys:
    """``keys``: how often the master keys of users are compared with what they have published; 0 is never."""

    compare_hours: int


@dataclass(frozen=True)
class Config:
    """All of it."""

    server: Server
    publish: Publishing
    lookups: Lookups
    invites: Invites
    registration: Registration
    keys: Keys
    status: bool

    @property
    def follows_invites(self) -> bool:
        """Whether it has to be known which invitations are pending."""
        return self.invites.revoke or self.registration.require_invite

    @property
    def asks(self) -> bool:
        """Whether the identity server is asked for anything at all."""
        return self.publish.is_on or self.lookups.is_on or self.invites.revoke or bool(self.keys.compare_hours)


def parse(content: Any) -> Config:
    """The configuration in ``content``; ``Misconfigured`` names the key and the fix."""
    reader = Reader(content or {})
    config = Config(
        _server(reader),
        _publishing(reader.section("publish")),
        _lookups(reader.section("lookups")),
        _invites(reader.section("invites")),
        _registration(reader.section("registration")),
        _keys(reader.section("keys")),
        reader.flag("status"),
    )
    reader.finish()
    if config.invites.pull and not config.publish.is_on:
        raise Misconfigured(
            ("invites", "pull"), "invitations are pulled once an address is published: give publish.media, or take this out"
        )
    return config


def _server(reader: Reader) -> Server:
    url = reader.text("identity_server").rstrip("/")
    _check_url(reader, url)
    return Server(
        url,
        reader.text("server_name") or urlsplit(url).netloc.removesuffix(":443"),
        reader.text("ca_file"),
        reader.text("signing_key_path"),
        reader.integer("timeout_s", 20, 1, 300),
    )


def _check_url(reader: Reader, url: str) -> None:
    if not url:
        raise reader.wrong("identity_server", 'this is missing; give its URL, such as "https://id.example.org"')
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise reader.wrong("identity_server", f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username is not None:
        raise reader.wrong("identity_server", f'{url!r} must be a URL such as "https://id.example.org"')
    if parts.path or parts.query or parts.fragment:
        raise reader.wrong("identity_server", f"{url!r} must end after the host and the port: take the path out")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise reader.wrong("identity_server", f"{url!r} would send addresses of users unencrypted: use https://")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _publishing(reader: Reader) -> Publishing:
    publishing = Publishing(
        reader.choices("media", MEDIA),
        reader.domains("domains"),
        reader.choice("consent", (OPT_OUT, OPT_IN)),
        reader.integer("reconcile_hours", 24, 0, 24 * 365),
        reader.flag("dry_run"),
    )
    reader.finish()
    if publishing.domains and "email" not in publishing.media:
        raise reader.wrong("domains", 'these are domains of email: add "email" to publish.media, or take this out')
    return publishing


def _lookups(reader: Reader) -> Lookups:
    lookups = Lookups(
        reader.flag("people_search"),
        reader.flag("login"),
        reader.choices("media", MEDIA) or MEDIA,
        reader.integer("timeout_ms", 2_000, 100, 10_000),
        reader.integer("per_user_per_hour", 100, 1, 1_000_000),
    )
    reader.finish()
    return lookups


def _invites(reader: Reader) -> Invites:
    invites = Invites(
        reader.domains("allowed_domains"),
        reader.domains("denied_domains"),
        reader.integer("per_user_per_day", 0, 0, 1_000_000),
        reader.flag("revoke"),
        reader.flag("pull"),
        reader.flag("join"),
    )
    reader.finish()
    both = set(invites.allowed_domains) & set(invites.denied_domains)
    if both:
        raise reader.wrong("denied_domains", f"{min(both)!r} is allowed, too: take it out of one of the two lists")
    if invites.join and not invites.pull:
        raise reader.wrong("join", "only invitations that are pulled are joined: add `pull: true`")
    return invites


def _registration(reader: Reader) -> Registration:
    registration = Registration(
        reader.flag("require_invite"), reader.domains("domains"), reader.integer("invite_days", 30, 1, 3650)
    )
    reader.finish()
    if registration.domains and not registration.require_invite:
        raise reader.wrong("domains", "these need no invitation, and nobody else does: add `require_invite: true`")
    return registration


def _keys(reader: Reader) -> Keys:
    keys = Keys(reader.integer("compare_hours", 0, 0, 24 * 365))
    reader.finish()
    return keys
