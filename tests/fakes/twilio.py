"""Twilio as far as a sender of text messages sees it: its REST API over TLS, its errors, its signed reports."""

import base64
import hashlib
import hmac
import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

import urllib3

from tests.fakes.tls import CertificateAuthority

ACCOUNT_SID = "AC" + "0" * 32
AUTH_TOKEN = "the-auth-token"
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
MAX_BODY_CHARACTERS = 1600


@dataclass(frozen=True)
class Sms:
    """A message that was taken."""

    sid: str
    fields: dict[str, str]

    @property
    def to(self) -> str:
        return self.fields["To"]

    @property
    def body(self) -> str:
        return self.fields["Body"]


@dataclass
class FakeTwilio:
    """``answer``, if set, is what it does in place of taking a message: see ``error`` and those below it."""

    authority: CertificateAuthority
    messages: list[Sms] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    answer: Callable[["_Request"], None] | None = None

    def __enter__(self) -> Self:
        self._numbers = itertools.count(1)
        self._server = _Server(("127.0.0.1", 0), _Request)
        self._server.twilio = self
        context = self.authority.server_context("localhost", "127.0.0.1")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.released = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def base_url(self) -> str:
        return f"https://localhost:{self._server.server_address[1]}"

    def take(self, fields: dict[str, str]) -> dict[str, Any]:
        """The resource that Twilio answers with (API version 2010-04-01)."""
        sid = f"SM{next(self._numbers):032x}"
        self.messages.append(Sms(sid, fields))
        return {
            "sid": sid,
            "account_sid": ACCOUNT_SID,
            "api_version": "2010-04-01",
            "to": fields["To"],
            "from": fields.get("From"),
            "messaging_service_sid": fields.get("MessagingServiceSid"),
            "body": fields["Body"],
            "status": "accepted" if "MessagingServiceSid" in fields else "queued",
            "direction": "outbound-api",
            "num_segments": "1",
            "num_media": "0",
            "price": None,
            "price_unit": None,
            "error_code": None,
            "error_message": None,
            "date_created": "Sun, 22 Nov 2026 12:00:00 +0000",
            "date_updated": "Sun, 22 Nov 2026 12:00:00 +0000",
            "date_sent": None,
            "uri": f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}.json",
            "subresource_uris": {},
        }

    def report(self, sms: Sms, status: str, error_code: int | None = None, **tampering: Any) -> int:
        """Post a status callback as Twilio does, signed; the status of the answer."""
        url = sms.fields["StatusCallback"]
        fields = {"MessageSid": sms.sid, "MessageStatus": status, "To": sms.to, "AccountSid": ACCOUNT_SID}
        if error_code is not None:
            fields["ErrorCode"] = str(error_code)
        headers = {"X-Twilio-Signature": sign(url, fields, tampering.get("auth_token", AUTH_TOKEN))}
        fields |= tampering.get("fields", {})
        url = tampering.get("url", url)
        headers = tampering.get("headers", headers)
        headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        answer = urllib3.request("POST", url, body=urlencode(fields), headers=headers, timeout=30)
        return answer.status


def sign(url: str, fields: dict[str, str], auth_token: str) -> str:
    """Twilio's signature: https://www.twilio.com/docs/usage/security#validating-requests"""
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    twilio: FakeTwilio

    def handle_error(self, *_details: object) -> None:
        """Clients that do not trust us hang up; that is no news."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.fields = {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}
        twilio = self.server.twilio
        twilio.requests.append((self.path, dict(self.headers.items())))
        refuse = self._refusal() or twilio.answer
        if refuse is not None:
            refuse(self)
        else:
            self.reply(201, json.dumps(twilio.take(self.fields)).encode())

    def _refusal(self) -> Callable[["_Request"], None] | None:
        """What Twilio says to a request that is not as its API wants it."""
        credentials = base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
        right = {
            error(20404, "The requested resource was not found", 404): self.path == MESSAGES,
            error(20003, "Authenticate", 401): self.headers["Authorization"] == f"Basic {credentials}",
            error(21211, "Invalid 'To' Phone Number:"): self.fields.get("To", "").startswith("+"),
            error(21603, "A 'From' phone number is required."): len({"From", "MessagingServiceSid"} & set(self.fields)) == 1,
            error(21602, "Message body is required."): 0 < len(self.fields.get("Body", "")) <= MAX_BODY_CHARACTERS,
        }
        return next((refuse for refuse, holds in right.items() if not holds), None)

    def reply(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Tests look at ``requests`` instead."""


def error(code: int, message: str, status: int = 400) -> Callable[[_Request], None]:
    """Refuse as Twilio does: a message that names the number, and a link."""

    def answer(request: _Request) -> None:
        words = f"{message} {request.fields.get('To', '')}"
        more = f"https://www.twilio.com/docs/errors/{code}"
        body = {"code": code, "message": words, "more_info": more, "status": status}
        request.reply(status, json.dumps(body).encode())

    return answer


def say(status: int, body: bytes, content_type: str = "text/html", **headers: str) -> Callable[[_Request], None]:
    """Answer in other words than Twilio's API, as whatever stands before it does when it is down."""
    return lambda request: request.reply(status, body, content_type, **headers)


def hang(request: _Request) -> None:
    """Say nothing."""
    request.server.twilio.released.wait(60)
    request.close_connection = True


def hang_up(request: _Request) -> None:
    """Close without an answer."""
    request.close_connection = True
