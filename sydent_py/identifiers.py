"""3PIDs, Matrix user IDs and server names: their grammar and their one canonical form.

Everything that enters as a string becomes one of these types at the edge; below it nothing is validated again.
"""

import ipaddress
import re
from dataclasses import dataclass

import idna
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from sydent_py.errors import InvalidEmail, InvalidParam
from sydent_py.phone_numbers import PhoneNumber

# Private federations live under .test, .local and the like. This is the library's own switch for them.
SPECIAL_USE_DOMAIN_NAMES.clear()

_DNS_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*", re.ASCII)
_SERVER_NAME = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LOCALPART = re.compile(r"[\x21-\x39\x3B-\x7E]+")
_MAX_PORT = 65535
_MAX_USER_ID_BYTES = 255
# More than any address has, in any spelling; case-folding a megabyte would take a second.
_MAX_TYPED_CHARACTERS = 320

# An address that is in its canonical form beyond doubt, as most are: to ask the library costs ten times as much. No label has
# a hyphen, because "xn--" and the like mean something.
_PLAIN_EMAIL = re.compile(
    r"[a-z0-9]{1,20}(?:[._+-][a-z0-9]{1,20}){0,2}@(?:[a-z0-9]{1,63}\.)+(?P<top>[a-z0-9]{1,63})", re.ASCII
)
_MAX_PLAIN_CHARACTERS = 200

EMAIL = "email"
MSISDN = "msisdn"

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ServerName:
    """The name of a Matrix server: a host, and a port where one is given.

    ``text`` is the name exactly as written, which is what is compared and signed.
    Appendices, "Server Name".
    """

    text: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "ServerName":
        """The server name in ``text``; ``InvalidParam`` for everything outside the ASCII grammar.

        A host whose last label is all digits must be a dotted IPv4 address: resolvers read ``2130706433`` and
        ``127.1`` as addresses too, and a name that means two things is refused.
        """
        match = _SERVER_NAME.fullmatch(text)
        if match is None:
            raise InvalidParam("This is not a valid Matrix server name.")
        host, port = match["host"], match["port"]
        if port is not None and not 0 < int(port) <= _MAX_PORT:
            raise InvalidParam("The port of this server name is not valid.")
        name = cls(text, host, None if port is None else int(port))
        if not _is_dns_name(host) and name.ip is None:
            raise InvalidParam("This is not a valid Matrix server name.")
        return name

    @property
    def ip(self) -> IpAddress | None:
        """The address, where the name is an IP literal."""
        try:
            if self.host.startswith("["):
                return ipaddress.IPv6Address(self.host[1:-1])
            return ipaddress.IPv4Address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        return self.text


def _is_dns_name(host: str) -> bool:
    return _DNS_NAME.fullmatch(host) is not None and not host.rpartition(".")[2].isdigit()


@dataclass(frozen=True, slots=True)
class UserId:
    """A Matrix user ID, ``@localpart:server`` (Appendices, "User Identifiers", historical localparts included)."""

    text: str
    server: ServerName

    @classmethod
    def parse(cls, text: str) -> "UserId":
        """The user ID in ``text``; ``InvalidParam`` for anything else."""
        localpart, colon, server = text[1:].partition(":")
        if text[:1] != "@" or not colon or not _LOCALPART.fullmatch(localpart) or len(text) > _MAX_USER_ID_BYTES:
            raise InvalidParam("This is not a valid Matrix user ID.")
        return cls(text, ServerName.parse(server))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ThreePid:
    """A third-party identifier in its canonical form: what is mailed is what is bound, hashed and signed.

    Appendices, "3PID Types".
    """

    medium: str
    address: str

    @classmethod
    def email(cls, text: str) -> "ThreePid":
        """The email address in ``text``: local part case-folded, domain as its lower-case A-label, all ASCII.

        The domain is mapped by UTS #46, never case-folded: ``straße.de`` and ``strasse.de`` are two domains. Domains are
        checked for their syntax alone, because private federations live under names that no public DNS knows.
        """
        if len(text) > _MAX_TYPED_CHARACTERS:
            raise InvalidEmail
        plain = _PLAIN_EMAIL.fullmatch(text)
        if plain and len(text) <= _MAX_PLAIN_CHARACTERS and not plain["top"].isdigit():
            return cls(EMAIL, text)
        local, _, domain = text.rpartition("@")
        try:
            parsed = validate_email(
                f"{local.casefold()}@{domain}",
                allow_smtputf8=False,
                allow_quoted_local=False,
                allow_domain_literal=False,
                strict=True,
                check_deliverability=False,
                globally_deliverable=False,
            )
        except EmailNotValidError as error:
            raise InvalidEmail from error
        address = f"{parsed.local_part}@{parsed.ascii_domain}"
        if not address.isascii() or not _is_dns_name(parsed.ascii_domain):
            raise InvalidEmail
        return cls(EMAIL, address)

    @classmethod
    def phone(cls, number: PhoneNumber) -> "ThreePid":
        """The 3PID of a phone number: its digits in E.164, without ``+``."""
        return cls(MSISDN, number.digits)

    @classmethod
    def parse(cls, medium: str, address: str) -> "ThreePid":
        """The 3PID of any medium this server serves; ``InvalidParam``, ``InvalidEmail`` or ``InvalidPhoneNumber`` otherwise.

        A phone number is taken with its country code alone, ``+`` or none before it.
        """
        if medium == EMAIL:
            return cls.email(address)
        if medium == MSISDN:
            return cls.phone(PhoneNumber.parse(f"+{address.strip(' ').removeprefix('+')}"))
        raise InvalidParam("This server knows no such medium.")

    @property
    def mailbox(self) -> "ThreePid":
        """What the address has in common with others that most mail servers put into one mailbox: ``a@b`` for ``a+x@b``.

        To count and to spare a person, and never to reach or to recognise one.
        """
        local, at, domain = self.address.rpartition("@")
        return ThreePid(self.medium, f"{local.partition('+')[0]}{at}{domain}")

    @property
    def spellings(self) -> tuple[str, ...]:
        """The address as clients may write it when they hash it: as it is, and with its domain in Unicode.

        They lower-case what a person typed, but turn no domain into its A-label.
        """
        local, _, domain = self.address.rpartition("@")
        if self.medium != EMAIL or "xn--" not in domain:
            return (self.address,)
        return self.address, f"{local}@{idna.decode(domain)}"

    def __str__(self) -> str:
        return f"{self.address} {self.medium}"
