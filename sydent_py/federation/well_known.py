"""Delegation: what ``/.well-known/matrix/server`` says about a server, asked once and remembered for a while."""

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC
from email.message import Message
from email.utils import parsedate_to_datetime
from threading import Lock
from urllib.parse import urljoin, urlsplit

from sydent_py.clock import Clock, Deadline
from sydent_py.errors import InvalidParam, MatrixError
from sydent_py.federation.transport import Destination, Reason, RequestFailed, Response, Transport
from sydent_py.identifiers import ServerName
from sydent_py.strict_json import parse_object

PATH = "/.well-known/matrix/server"
HTTPS_PORT = 443
MAX_REDIRECTS = 5

# A share of the caller's time, so that a server whose port 443 is a black hole is still found by the steps that follow.
TIMEOUT_S = 3.0

MIN_LIFETIME_S = 5 * 60
DEFAULT_LIFETIME_S = 24 * 60 * 60
MAX_LIFETIME_S = 48 * 60 * 60
MIN_FAILURE_LIFETIME_S = 60
MAX_FAILURE_LIFETIME_S = 60 * 60
MAX_NAMES = 1000

_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_AGE = re.compile(r'(?:^|,)\s*max-age\s*=\s*"?([0-9]+)', re.IGNORECASE | re.ASCII)
_NOT_STORED = re.compile(r"(?:^|,)\s*(?:no-store|no-cache)\b", re.IGNORECASE | re.ASCII)
# A lifetime with more digits is longer than any bound, and int() refuses thousands of them.
_MAX_AGE_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Delegation:
    """What was found for one server: the name it delegates to, or ``None``; good until ``expires_s`` on the clock."""

    to: ServerName | None
    lifetime_s: float
    expires_s: float


class DelegationCache:
    """The ``MAX_NAMES`` delegations used last, expired ones included; threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._delegations: OrderedDict[str, Delegation] = OrderedDict()

    def get(self, host: str) -> Delegation | None:
        """What was found last for ``host``."""
        with self._lock:
            if host in self._delegations:
                self._delegations.move_to_end(host)
            return self._delegations.get(host)

    def put(self, host: str, delegation: Delegation) -> None:
        """Remember ``delegation``, and forget the one that nobody asked for longest."""
        with self._lock:
            self._delegations[host] = delegation
            self._delegations.move_to_end(host)
            while len(self._delegations) > MAX_NAMES:
                self._delegations.popitem(last=False)


class WellKnown:
    """Server-Server API, "Resolving server names", step 3; ``port`` is another one in tests alone."""

    def __init__(self, transport: Transport, clock: Clock, port: int = HTTPS_PORT) -> None:
        self._transport = transport
        self._clock = clock
        self._port = port
        self._cache = DelegationCache()

    def delegated(self, host: str, deadline: Deadline) -> ServerName | None:
        """The server that ``host`` delegates to; ``None`` where it delegates to nobody, or nobody can tell."""
        known = self._cache.get(host.lower())
        if known is None or self._clock.monotonic_s() >= known.expires_s:
            to, lifetime_s = self._look_up(host, known, deadline)
            known = Delegation(to, lifetime_s, self._clock.monotonic_s() + lifetime_s)
            self._cache.put(host.lower(), known)
        return known.to

    def _look_up(self, host: str, last: Delegation | None, deadline: Deadline) -> tuple[ServerName | None, float]:
        share = Deadline.after(self._clock, min(TIMEOUT_S, deadline.remaining_s()))
        try:
            response = self._fetch(host, share)
            return _delegated_name(response), lifetime_s(response.headers, self._clock.now_ms())
        except (RequestFailed, MatrixError):
            return None, _failure_lifetime_s(last)

    def _fetch(self, host: str, deadline: Deadline) -> Response:
        """The answer at the end of the redirects, each of which is an ordinary request to a checked address."""
        url = f"https://{host}{PATH}" if self._port == HTTPS_PORT else f"https://{host}:{self._port}{PATH}"
        for _ in range(MAX_REDIRECTS + 1):
            destination, target = _parse_url(url)
            response = self._transport.get([destination], target, deadline)
            if response.status not in _REDIRECTS:
                return response
            url = _redirected(url, response.headers.get("Location", ""))
        raise RequestFailed(Reason.MALFORMED, f"more than {MAX_REDIRECTS} redirects")


def lifetime_s(headers: "Message[str, str]", now_ms: int) -> float:
    """How long a delegation is good for: what the server says, within bounds; a day where it says nothing."""
    return max(MIN_LIFETIME_S, min(MAX_LIFETIME_S, _stated_lifetime_s(headers, now_ms)))


def _stated_lifetime_s(headers: "Message[str, str]", now_ms: int) -> float:
    cache_control = ",".join(headers.get_all("Cache-Control", []))
    if _NOT_STORED.search(cache_control):
        return 0
    if match := _MAX_AGE.search(cache_control):
        digits = match[1].lstrip("0")
        return int(digits or "0") if len(digits) <= _MAX_AGE_DIGITS else MAX_LIFETIME_S
    expires = headers.get("Expires")
    if expires is None:
        return DEFAULT_LIFETIME_S
    try:
        # A date without a zone is one in UTC.
        moment = parsedate_to_datetime(expires)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        # RFC 9111: an invalid date, "0" above all, is one that has passed.
        return 0


def _failure_lifetime_s(last: Delegation | None) -> float:
    """A minute, then twice as long with every failure in a row, up to an hour."""
    if last is None or last.to is not None:
        return MIN_FAILURE_LIFETIME_S
    return min(MAX_FAILURE_LIFETIME_S, 2 * last.lifetime_s)


def _delegated_name(response: Response) -> ServerName:
    """The ``m.server`` of the answer, whatever its Content-Type."""
    if response.status != _OK:
        raise RequestFailed(Reason.MALFORMED, f"status {response.status}")
    name = parse_object(response.body).get("m.server")
    if not isinstance(name, str):
        raise InvalidParam
    return ServerName.parse(name)


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise RequestFailed(Reason.MALFORMED, "a redirect to no URL") from error


def _parse_url(url: str) -> tuple[Destination, str]:
    """Where an https URL leads; its host has to keep to the grammar of server names, which has no user part."""
    try:
        parts = urlsplit(url)
        name = ServerName.parse(parts.netloc)
    except (ValueError, InvalidParam) as error:
        raise RequestFailed(Reason.MALFORMED, "a redirect to no server") from error
    if parts.scheme != "https":
        raise RequestFailed(Reason.BLOCKED, "a redirect that leaves https")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination.of(name, name.port or HTTPS_PORT), target
