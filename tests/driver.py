"""Drives a server through its HTTP API as a client would, and says what a test means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from werkzeug.test import TestResponse

from sydent_py.directory.peppers import lookup_hash
from sydent_py.services import Services
from tests.fakes.clock import FakeClock
from tests.fakes.handset import Handset
from tests.fakes.homeservers import FakeHomeservers
from tests.fakes.mailbox import Mailbox

V2 = "/_matrix/identity/v2"
OWN = "/_matrix/identity/unstable/sydent_py"
SECRET = "a_client_secret"
TERMS = """
[policies.privacy_policy]
version = "1.2"
[policies.privacy_policy.en]
name = "Privacy policy"
url = "https://id.test/privacy-1.2-en.html"
"""


@dataclass
class Driver:
    app: Flask
    services: Services
    clock: FakeClock
    mailbox: Mailbox
    homeservers: FakeHomeservers
    handset: Handset

    def request(self, method: str, path: str, token: str | None = None, **options: Any) -> TestResponse:
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **options.pop("headers", {})}
        return self.app.test_client().open(path, method=method, headers=headers, **options)

    def get(self, path: str, token: str | None = None, **query: str) -> TestResponse:
        return self.request("GET", V2 + path, token, query_string=query)

    def post(self, path: str, body: Mapping[str, Any] | bytes, token: str | None = None, **options: Any) -> TestResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", V2 + path, token, data=data, content_type="application/json", **options)

    def register(self, user_id: str = "@alice:hs.test") -> str:
        answer = self.post("/account/register", openid_token(user_id))
        assert answer.status_code == 200, answer.text
        return str(answer.get_json()["token"])

    def request_token(self, token: str, email: str = "alice@example.org", attempt: Any = 1, **more: Any) -> TestResponse:
        body = {"client_secret": SECRET, "email": email, "send_attempt": attempt, **more}
        return self.post("/validate/email/requestToken", body, token)

    def start(self, token: str, email: str = "alice@example.org", attempt: int = 1, **more: Any) -> tuple[str, str]:
        """Request a token: the sid, and the token from the mail."""
        answer = self.request_token(token, email, attempt, **more)
        assert answer.status_code == 200, answer.text
        return answer.get_json()["sid"], mailed_token(self.mailbox.link())

    def request_code(self, token: str, number: str = "+447400123456", attempt: Any = 1, **more: Any) -> TestResponse:
        """Ask for a text message."""
        headers = more.pop("headers", {})
        body = {"client_secret": SECRET, "country": "GB", "phone_number": number, "send_attempt": attempt, **more}
        return self.post("/validate/msisdn/requestToken", body, token, headers=headers)

    def start_phone(self, token: str, number: str = "+447400123456", attempt: int = 1, **more: Any) -> tuple[str, str]:
        """Ask for a text message: the sid, and the code."""
        answer = self.request_code(token, number, attempt, **more)
        assert answer.status_code == 200, answer.text
        return answer.get_json()["sid"], self.handset.code()

    def submit_code(self, token: str, sid: str, code: str, secret: str = SECRET) -> TestResponse:
        return self.post("/validate/msisdn/submitToken", {"sid": sid, "client_secret": secret, "token": code}, token)

    def validate_phone(self, token: str, number: str = "+447400123456", **more: Any) -> str:
        """Prove a phone number: the sid of the validated session."""
        sid, code = self.start_phone(token, number, **more)
        answer = self.submit_code(token, sid, code, more.get("client_secret", SECRET))
        assert answer.status_code == 200, answer.text
        return sid

    def submit(self, token: str, sid: str, mailed: str, secret: str = SECRET) -> TestResponse:
        return self.post("/validate/email/submitToken", {"sid": sid, "client_secret": secret, "token": mailed}, token)

    def validate(self, token: str, email: str = "alice@example.org", **more: Any) -> str:
        """Prove an address: the sid of the validated session."""
        sid, mailed = self.start(token, email, **more)
        answer = self.submit(token, sid, mailed, more.get("client_secret", SECRET))
        assert answer.status_code == 200, answer.text
        return sid

    def bind(self, token: str, sid: str, mxid: str = "@alice:hs.test", secret: str = SECRET) -> TestResponse:
        return self.post("/3pid/bind", {"sid": sid, "client_secret": secret, "mxid": mxid}, token)

    def bound(self, email: str = "alice@example.org", user_id: str = "@alice:hs.test") -> tuple[str, str]:
        """A whole binding: the access token and the sid."""
        token = self.register(user_id)
        sid = self.validate(token, email)
        answer = self.bind(token, sid, user_id)
        assert answer.status_code == 200, answer.text
        return token, sid

    def unbind(self, token: str, sid: str, email: str = "alice@example.org", mxid: str = "@alice:hs.test") -> TestResponse:
        threepid = {"medium": "email", "address": email}
        return self.post("/3pid/unbind", {"sid": sid, "client_secret": SECRET, "mxid": mxid, "threepid": threepid}, token)

    def signed_post(self, homeserver: str, path: str, body: Mapping[str, Any], **options: Any) -> TestResponse:
        """A request that ``homeserver`` signs as Synapse does."""
        destination = options.pop("destination", "id.test")
        header = self.homeservers.sign(homeserver, "POST", path, dict(body), destination, **options)
        return self.request("POST", path, data=json.dumps(body).encode(), headers={"Authorization": header})

    def signed_unbind(
        self, email: str = "alice@example.org", mxid: str = "@alice:hs.test", homeserver: str = "hs.test", **options: Any
    ) -> TestResponse:
        body = {"mxid": mxid, "threepid": {"medium": "email", "address": email}}
        return self.signed_post(homeserver, f"{V2}/3pid/unbind", body, **options)

    def store_invite(self, token: str, email: str = "bob@example.org", **more: Any) -> TestResponse:
        body = {"medium": "email", "address": email, "room_id": "!room:hs.test", "sender": "@alice:hs.test", **more}
        return self.post("/store-invite", body, token)

    def invited(self, token: str, email: str = "bob@example.org", **more: Any) -> dict[str, Any]:
        """A stored invitation, its mail delivered: what the homeserver is told."""
        answer = self.store_invite(token, email, **more)
        assert answer.status_code == 200, answer.text
        self.deliver()
        return dict(answer.get_json())

    def deliver(self) -> None:
        """Do what the worker does about messages that are due."""
        for delivery in vars(self.services.deliveries).values():
            delivery()
            delivery.finish(within_s=10)

    def sequence(self) -> None:
        """Do what the worker does about entries that wait for their place in the log."""
        self.services.sequencer()

    def log(self, path: str, **options: Any) -> TestResponse:
        """A file of the log, as anybody may read it."""
        return self.request("GET", f"{OWN}/log/{path}", **options)

    def pepper(self, token: str) -> str:
        return str(self.get("/hash_details", token).get_json()["lookup_pepper"])

    def lookup(self, token: str, *emails: str) -> dict[str, str]:
        """Who has these addresses, by address."""
        pepper = self.pepper(token)
        hashes = {lookup_hash(f"{email} email", pepper): email for email in emails}
        answer = self.post("/lookup", {"algorithm": "sha256", "pepper": pepper, "addresses": list(hashes)}, token)
        assert answer.status_code == 200, answer.text
        return {hashes[key]: mxid for key, mxid in answer.get_json()["mappings"].items()}


def openid_token(user_id: str) -> dict[str, Any]:
    server = user_id.partition(":")[2]
    return {"access_token": user_id, "token_type": "Bearer", "matrix_server_name": server, "expires_in": 3600}


def mailed_token(link: str) -> str:
    return parse_qs(urlsplit(link).query)["token"][0]


def signurl_in(text: str) -> str:
    """The ``signurl`` in the link of an invitation's mail."""
    [link] = [line for line in text.splitlines() if "signurl=" in line]
    [signurl] = parse_qs(urlsplit(link).fragment.partition("?")[2])["signurl"]
    return signurl


def refusal(answer: TestResponse) -> tuple[int, str]:
    """Status and errcode of an error that has the form and the headers every error must have."""
    body = answer.get_json()
    assert set(body) >= {"errcode", "error"}, body
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.mimetype == "application/json"
    return answer.status_code, body["errcode"]
