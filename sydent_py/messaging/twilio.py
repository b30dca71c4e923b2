"""Text messages through Twilio, with the official library over a connection of our own."""

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
import urllib3
from twilio.base.exceptions import TwilioRestException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from sydent_py.errors import DestinationRejected, MatrixError, SendError
from sydent_py.messaging.sms import CALLBACK_PATH, Pager, TextMessage, Unanswered
from sydent_py.messaging.smtp import verifying_context
from sydent_py.sealing import Sealer
from sydent_py.settings import ConfigurationError, read_text
from sydent_py.sms_settings import Sms

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 64 * 1024
# A text that is still waiting at Twilio when its code has expired need not come any more.
VALIDITY_S = 900
SERVICE_SID_LENGTH = 34
# The library would read credentials and another host from an environment that is empty.
_NO_ENVIRONMENT = {"TWILIO": ""}

_CANNOT_RECEIVE = "This number cannot receive text messages from here. Please check it, or use another one."
_OPTED_OUT = "This number has opted out of our text messages. Send START to the number they came from, and try again."
_NOT_SERVED = frozenset({21408, 21612, 21665})  # a country or route that the account has not enabled
_AT_FAULT = {
    21211: _CANNOT_RECEIVE,
    21214: _CANNOT_RECEIVE,
    21217: _CANNOT_RECEIVE,
    21610: _OPTED_OUT,
    21614: _CANNOT_RECEIVE,
    30003: _CANNOT_RECEIVE,
    30005: _CANNOT_RECEIVE,
    30006: _CANNOT_RECEIVE,
}

# What comes before the request is written.
_NOT_ASKED = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.SSLError)

log = structlog.get_logger(__name__)


class StrictHttpClient(HttpClient):
    """What the library asks over: verified TLS, every wait bounded, no proxy and no secret from the environment.

    The library's own has no timeout, and writes URLs to a log.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(logging.getLogger(__name__), is_async=False, timeout=READ_TIMEOUT_S)
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
        self._pool = urllib3.PoolManager(ssl_context=tls, timeout=timeout, retries=False, maxsize=8)

    def request(  # noqa: PLR0917 - the library's signature
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - ours is always set
        allow_redirects: bool = False,  # noqa: ARG002, FBT001, FBT002 - none is followed
    ) -> Response:
        """Send a form and read the answer; ``urllib3.exceptions.HTTPError`` where there is none."""
        assert params is None
        basic = urllib3.make_headers(basic_auth=":".join(auth)) if auth else {}
        fields: Any = data or {}
        answer = self._pool.request(
            method,
            uri,
            fields=fields,
            encode_multipart=False,
            headers={**(headers or {}), **basic},
            redirect=False,
            preload_content=False,
        )
        body = answer.read(MAX_ANSWER_BYTES)
        if len(body) < MAX_ANSWER_BYTES:
            answer.release_conn()
        else:
            answer.close()
        return Response(answer.status, body.decode("utf-8", "replace"), answer.headers)


@dataclass(frozen=True)
class TwilioPager:
    """Hands messages to Twilio; threads may share it. ``callback_url`` is where Twilio reports, empty where it cannot reach us."""

    client: Client
    settings: Sms
    callback_url: str
    sealer: Sealer

    def send(self, message: TextMessage) -> None:
        """Return once Twilio has taken the message. Its own words are not passed on: they hold the number."""
        pseudonym = self.sealer.pseudonym(message.to.digits)
        try:
            taken = self.client.messages.create(
                to=f"+{message.to.digits}",
                body=message.body,
                validity_period=VALIDITY_S,
                **self._sender(message),
                **self._callback(message),
            )
        except TwilioRestException as error:
            log.warning("sms.not_sent", number=pseudonym, country=message.to.country, status=error.status, code=error.code)
            raise _refusal(error.code) from None
        except Exception as error:  # noqa: BLE001 - the library trips over nonsense in many ways, and the text may be on its way
            log.warning("sms.not_sent", number=pseudonym, country=message.to.country, error=type(error).__name__)
            raise (SendError if isinstance(error, _NOT_ASKED) else Unanswered) from None
        log.info("sms.sent", number=pseudonym, country=message.to.country, ref=message.ref, message_sid=taken.sid)

    def _sender(self, message: TextMessage) -> dict[str, str]:
        sender = self.settings.sender(message.to.country)
        return {"messaging_service_sid" if len(sender) == SERVICE_SID_LENGTH else "from_": sender}

    def _callback(self, message: TextMessage) -> dict[str, str]:
        return {"status_callback": f"{self.callback_url}?ref={message.ref}"} if self.callback_url else {}


@dataclass(frozen=True)
class Signatures:
    """Tells Twilio's reports from everybody else's."""

    callback_url: str
    auth_token: str

    def verify(self, query: str, fields: Mapping[str, str], signature: str) -> bool:
        """Whether Twilio signed a form that was posted to our callback URL with this raw query."""
        return bool(RequestValidator(self.auth_token).validate(f"{self.callback_url}?{query}", fields, signature))


def build(settings: Sms, public_base_url: str, sealer: Sealer) -> Pager:
    """The pager that ``[sms]`` describes; ``ConfigurationError`` if its files cannot be used."""
    tls = verifying_context(settings.ca_file, "sms.ca_file")
    client = Client(
        settings.twilio_account_sid, auth_token(settings), http_client=StrictHttpClient(tls), environment=_NO_ENVIRONMENT
    )
    if settings.twilio_base_url:
        client.api.base_url = settings.twilio_base_url
    return TwilioPager(client, settings, callback_url(settings, public_base_url), sealer)


def signatures(settings: Sms, public_base_url: str) -> Signatures:
    """What verifies Twilio's reports; ``ConfigurationError`` if the account's secret cannot be read."""
    return Signatures(callback_url(settings, public_base_url), auth_token(settings))


def callback_url(settings: Sms, public_base_url: str) -> str:
    """Where Twilio reports to. It refuses a message whose callback it cannot reach, so a trial without TLS names none."""
    reachable = public_base_url.startswith("https:") or settings.twilio_base_url
    return f"{public_base_url}{CALLBACK_PATH}" if reachable else ""


def auth_token(settings: Sms) -> str:
    """The account's secret, read from its file where one is named."""
    if settings.twilio_auth_token_file is None:
        return settings.twilio_auth_token.get_secret_value()
    token = read_text(settings.twilio_auth_token_file, "sms.twilio_auth_token_file").strip()
    if not token:
        raise ConfigurationError("sms.twilio_auth_token_file: the file is empty")
    return token


def _refusal(code: object) -> MatrixError:
    number = code if isinstance(code, int) else 0
    if number in _NOT_SERVED:
        return DestinationRejected()
    return SendError(_AT_FAULT.get(number))
