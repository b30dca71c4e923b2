"""The identity server under its public name, and what clients ask of it."""

import html
import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import psutil
import urllib3
from signedjson.key import encode_signing_key_base64, generate_signing_key

from sydent_py.directory.peppers import lookup_hash
from tests.fakes.smtp import SmtpServer
from tests.fakes.tls import CertificateAuthority
from tests.fakes.tls_proxy import TlsProxy
from tests.integration.conftest import V2, IdentityServer
from tests.synapse.waiting import eventually

LINK = re.compile(r"https?://[^\s<>\"]+")
Sections = dict[str, dict[str, Any]]


def medium_and_address(address: str) -> dict[str, str]:
    return {"medium": "email", "address": address}


@dataclass(frozen=True)
class Mails:
    """The letter boxes of everybody."""

    smtp: SmtpServer

    def texts(self, address: str) -> list[str]:
        mine = [received.message for received in self.smtp.received if address in received.recipients]
        return [str(part.get_content()) for message in mine if (part := message.get_body(("plain",))) is not None]

    def link(self, address: str, mark: str) -> str:
        """The newest link with ``mark`` in it that somebody sends to ``address``."""
        links = eventually(lambda: self._links(address, mark), f"a mail to {address} with a link with {mark}")
        return links[-1]

    def _links(self, address: str, mark: str) -> list[str]:
        return [link for text in self.texts(address) for link in LINK.findall(text) if mark in link]


class PublicIdentityServer:
    """``sydent-py serve`` behind a proxy that brings TLS, so that its name is where homeservers find it."""

    def __init__(self, directory: Path, authority: CertificateAuthority, smtp: SmtpServer, sections: Sections) -> None:
        self.proxy = TlsProxy(authority.server_context("localhost"))
        self.mails = Mails(smtp)
        self.name = self.proxy.name
        self.signing_keys = directory / "data" / "signing.key"
        ca_file = str(authority.write_root(directory / "ca.pem"))
        sender = {"from": "Identity <noreply@example.org>", "smtp_security": "none"}
        ours: Sections = {
            "server": {"name": self.name, "public_base_url": self.proxy.url, "workers": 1},
            "email": {**sender, "smtp_host": smtp.host, "smtp_port": smtp.port},
            "federation": {"ca_file": ca_file, "allow_networks": ["127.0.0.0/8", "::1/128"]},
        }
        self.process = IdentityServer(directory, {**ours, **sections})
        self.proxy.backend_port = self.process.port
        self._http = urllib3.PoolManager(ca_certs=ca_file, retries=False, timeout=30)

    def __enter__(self) -> Self:
        self.process.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.__exit__(*error)
        self.proxy.__exit__(None, None, None)
        self._http.clear()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Those of this name in its log."""
        lines = self.process.output.read_text().splitlines()
        return [event for line in lines if line.startswith("{") and (event := json.loads(line))["event"] == name]

    def worker(self) -> psutil.Process:
        """The process that does the background work."""
        return psutil.Process(eventually(lambda: self.events("worker.active"), "a background worker")[-1]["pid"])

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Nobody can connect to it meanwhile."""
        self.proxy.down()
        try:
            yield
        finally:
            self.proxy.up()

    def add_signing_key(self) -> None:
        """Put a new key above the old one, as an operator does, and restart."""
        new = generate_signing_key(f"k{len(self.signing_keys.read_text())}")
        self.signing_keys.write_text(
            f"{new.alg} {new.version} {encode_signing_key_base64(new)}\n" + self.signing_keys.read_text()
        )
        assert self.process.stop() == 0
        self.process.start()

    def request(self, method: str, url: str, token: str = "", **options: Any) -> urllib3.BaseHTTPResponse:
        """Ask for a whole URL of ours, as found in a mail, or for a path."""
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        url = self.proxy.url + url.removeprefix(self.proxy.url)
        return self._http.request(method, url, headers=headers, redirect=False, **options)

    def post(self, path: str, body: Any, token: str = "") -> tuple[int, Any]:
        answer = self.request("POST", V2 + path, token, body=json.dumps(body).encode())
        return answer.status, answer.json()

    def get(self, path: str, token: str = "", **query: str) -> tuple[int, Any]:
        answer = self.request("GET", V2 + path, token, fields=query)
        return answer.status, answer.json()

    def register(self, openid_token: Any) -> "Account":
        status, answer = self.post("/account/register", openid_token)
        assert status == 200, answer
        return Account(self, answer["token"])

    def press_button(self, link: str) -> None:
        """Open a page of ours and press its button, as a person does in a browser."""
        page = self.request("GET", link).data.decode()
        form = re.search(r'<form[^>]* action="([^"]*)"', page)
        assert form, page
        fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page))
        done = self.request("POST", html.unescape(form[1]), fields=fields, encode_multipart=False)
        assert done.status == 200, done.data

    def sign_invite(self, address: str, user_id: str) -> dict[str, Any]:
        """What the link in the invite to ``address`` is for: the client adds its user to ``signurl``, and gets a signature."""
        link = self.mails.link(address, "signurl=")
        signurl = parse_qs(urlsplit(link.replace("/#/", "/")).query)["signurl"][0]
        answer = self.request("POST", f"{signurl}&{urlencode({'mxid': user_id})}")
        assert answer.status == 200, answer.data
        return dict(answer.json())


@dataclass(frozen=True)
class Proof:
    """A validated session: whoever shows it controls the address."""

    sid: str
    client_secret: str

    @property
    def credentials(self) -> dict[str, str]:
        return {"sid": self.sid, "client_secret": self.client_secret}


@dataclass(frozen=True)
class Account:
    """Somebody's account at an identity server."""

    server: PublicIdentityServer
    token: str
    _numbers: ClassVar = itertools.count(1)

    @property
    def credentials(self) -> dict[str, str]:
        """What a client hands to its homeserver, which then acts here for its user."""
        return {"id_server": self.server.name, "id_access_token": self.token}

    def do(self, ask: Callable[..., tuple[int, Any]], *arguments: Any) -> Any:
        """A request that succeeds; the body of its answer."""
        status, answer = ask(*arguments, self.token)
        assert status == 200, (arguments, status, answer)
        return answer

    def prove(self, address: str) -> Proof:
        """Ask for the mail, open its link and press the button, as the owner of ``address`` does."""
        secret = f"the.client=secret{next(self._numbers)}"
        body = {"client_secret": secret, "email": address, "send_attempt": 1}
        sid = self.do(self.server.post, "/validate/email/requestToken", body)["sid"]
        self.server.press_button(self.server.mails.link(address, f"sid={sid}"))
        return Proof(sid, secret)

    def bind(self, proof: Proof, user_id: str) -> None:
        """Bind without asking the homeserver."""
        self.do(self.server.post, "/3pid/bind", {**proof.credentials, "mxid": user_id})

    def lookup(self, address: str) -> str | None:
        """The user ``address`` is bound to."""
        pepper = self.do(self.server.get, "/hash_details")["lookup_pepper"]
        key = lookup_hash(f"{address} email", pepper)
        body = {"algorithm": "sha256", "pepper": pepper, "addresses": [key]}
        found: dict[str, str] = self.do(self.server.post, "/lookup", body)["mappings"]
        return found.get(key)
