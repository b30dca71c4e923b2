"""Requests to the identity server, on Synapse's reactor: nobody waits for them but who asked for them."""

import json
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from synapse.config import ConfigError
from synapse.logging.context import make_deferred_yieldable
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, platformTrust, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, FileBodyProducer, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers

from sydent_py import __version__
from sydent_py.synapse import clock, wire
from sydent_py.synapse.config import Server
from sydent_py.synapse.wire import Identity, TooSlow, Unreachable

CONNECT_TIMEOUT_S = 5
MAX_ANSWER_BYTES = 4_000_000
IDLE_CONNECTION_S = 50

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Client:
    """The identity server, as this homeserver asks it."""

    def __init__(self, server: Server, identity: Identity, reactor: Any) -> None:
        self._server = server
        self._identity = identity
        self._reactor = reactor
        pool = HTTPConnectionPool(reactor)
        pool.cachedConnectionTimeout = IDLE_CONNECTION_S
        policy = BrowserLikePolicyForHTTPS(_roots(server.ca_file))
        self._agent = Agent(reactor, policy, connectTimeout=CONNECT_TIMEOUT_S, pool=pool)

    async def ask(self, endpoint: str, content: Mapping[str, Any], timeout_s: float = 0) -> dict[str, Any]:
        """The answer to a signed request with the time and an ID in it. ``Unreachable``, ``Refusal``."""
        stamped = {**content, "ts": clock.now_ms(), "id": clock.new_request_id()}
        return await self.ask_unstamped(endpoint, stamped, timeout_s)

    async def ask_unstamped(self, endpoint: str, content: Mapping[str, Any], timeout_s: float = 0) -> dict[str, Any]:
        """The answer to a signed request with nothing but ``content`` in it. ``Unreachable``, ``Refusal``."""
        within_s = timeout_s or self._server.timeout_s
        try:
            status, body = await make_deferred_yieldable(self._exchange(wire.BASE + endpoint, content, within_s))
        except Exception as error:
            raise _unreachable(error, within_s) from error
        return _read(status, body)

    def _exchange(self, uri: str, content: Mapping[str, Any], timeout_s: float) -> "Deferred[tuple[int, bytes]]":
        headers = {
            "Authorization": [self._identity.authorization(uri, content)],
            "Content-Type": ["application/json"],
            "User-Agent": [f"sydent_py-synapse/{__version__}"],
        }
        producer = FileBodyProducer(BytesIO(wire.encode(content)))
        url = (self._server.url + uri).encode("ascii")
        answer: Deferred[tuple[int, bytes]] = self._agent.request(b"POST", url, Headers(headers), producer)
        answer.addCallback(_collect)
        answer.addTimeout(timeout_s, self._reactor)
        return answer


def _read(status: int, body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreachable(f"the answer (status {status}) is not JSON: is this the identity server?") from error
    if status != wire.OK:
        raise wire.refusal(status, content)
    if not isinstance(content, dict):
        raise Unreachable("the answer is not a JSON object")
    return content


class _Collector(Protocol):
    """Puts the body of an answer together, and hangs up on one without an end."""

    def __init__(self) -> None:
        self.body: Deferred[bytes] = Deferred(self._abort)
        self._received = bytearray()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._received += data
        if len(self._received) > MAX_ANSWER_BYTES:
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        if self.body.called:
            return
        if reason.check(ResponseDone):
            self.body.callback(bytes(self._received))
        else:
            self.body.errback(reason)

    def _abort(self, _cancelled: Any = None) -> None:
        transport: Any = self.transport
        if transport is not None and hasattr(transport, "abortConnection"):
            transport.abortConnection()


def _collect(response: Any) -> "Deferred[tuple[int, bytes]]":
    collector = _Collector()
    response.deliverBody(collector)
    answer: Deferred[tuple[int, bytes]] = collector.body.addCallback(lambda body: (response.code, body))
    return answer


def _roots(ca_file: str) -> Any:
    """Whose certificates are believed: those in ``ca_file`` alone, or those of the system. ``ConfigError``."""
    if not ca_file:
        return platformTrust()
    try:
        texts = _CERTIFICATE.findall(Path(ca_file).read_text())
        certificates = [Certificate.loadPEM(text) for text in texts]
    except Exception as error:
        raise ConfigError(f"no certificates can be read from {ca_file}: {error}", ("ca_file",)) from error
    if not certificates:
        raise ConfigError(f"{ca_file} holds no certificate in PEM form", ("ca_file",))
    return trustRootFromCertificates(certificates)


def _unreachable(error: BaseException, within_s: float) -> Unreachable:
    """What went wrong, of several reasons the first."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _unreachable(reasons[0].value, within_s)
    if isinstance(error, DeferredTimeout | CancelledError):
        return TooSlow(f"no answer within {within_s:g} s")
    return Unreachable(f"{type(error).__name__}: {error}"[:300].rstrip("."))
