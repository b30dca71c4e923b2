"""Who an OpenID token belongs to, as told by a homeserver that may be lying, broken or not there."""

import ipaddress
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from signedjson.key import generate_signing_key

from sydent_py.clock import SystemClock
from sydent_py.errors import Unauthorized
from sydent_py.federation.client import Homeservers, build
from sydent_py.federation.discovery import Discovery
from sydent_py.federation.transport import Reason, RequestFailed, Transport
from sydent_py.federation.well_known import WellKnown
from sydent_py.identifiers import ServerName
from sydent_py.settings import ConfigurationError, Federation
from sydent_py.signing import Signer
from tests.fakes.dns import FakeDns
from tests.fakes.homeserver import USERINFO, FakeHomeserver, Route, answer, hang, raw, redirect
from tests.fakes.tls import CertificateAuthority

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
SIGNER = Signer("id.test", (generate_signing_key("0"),))


@pytest.fixture
def local(authority: CertificateAuthority) -> Iterator[FakeHomeserver]:
    with FakeHomeserver(authority) as server:
        yield server


@pytest.fixture
def homeservers(ca_file: Path) -> Homeservers:
    return build(Federation(ca_file=ca_file, allow_networks=LOOPBACK), SystemClock(), SIGNER)


def ask(homeservers: Homeservers, homeserver: FakeHomeserver, token: str = "token") -> str:
    return homeservers.userinfo(ServerName.parse(homeserver.name), token).text


def test_a_token_becomes_the_user_it_was_given_to(homeservers: Homeservers, local: FakeHomeserver) -> None:
    credentials = local.openid_token("alice")
    server = ServerName.parse(credentials["matrix_server_name"])
    assert homeservers.userinfo(server, credentials["access_token"]).text == f"@alice:localhost:{local.port}"


def test_the_token_is_percent_encoded(homeservers: Homeservers, local: FakeHomeserver) -> None:
    token = "a b+c&d=e/f?g#h%20\r\nHost: x\u00e9\U0001f600"
    local.tokens[token] = f"@alice:{local.name}"
    assert ask(homeservers, local, token) == f"@alice:{local.name}"


def test_a_token_longer_than_a_request_line_is_never_sent(homeservers: Homeservers, local: FakeHomeserver) -> None:
    with pytest.raises(Unauthorized):
        ask(homeservers, local, "x" * 8000)
    assert local.requests == []


def test_an_unknown_token_is_refused(homeservers: Homeservers, local: FakeHomeserver) -> None:
    with pytest.raises(Unauthorized):
        ask(homeservers, local, "unknown")


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejection_is_one_without_json_too(homeservers: Homeservers, local: FakeHomeserver, status: int) -> None:
    local.routes[USERINFO] = answer("<html>", status=status)
    with pytest.raises(Unauthorized):
        ask(homeservers, local)


@pytest.mark.parametrize("server", ["elsewhere.example", "localhost", "LOCALHOST:{port}", "localhost:1"])
def test_a_user_of_another_server_is_refused(homeservers: Homeservers, local: FakeHomeserver, server: str) -> None:
    local.tokens["token"] = "@alice:" + server.format(port=local.port)
    with pytest.raises(Unauthorized):
        ask(homeservers, local)


@pytest.mark.parametrize(
    "body",
    ['{"sub": null}', '{"sub": 1}', "{}", "[]", "", "null", '{"sub": "alice"}', '{"sub": "@alice"}', '{"sub": "@a:b:c"}'],
)
def test_an_answer_without_a_user_id_is_a_failure(homeservers: Homeservers, local: FakeHomeserver, body: str) -> None:
    local.routes[USERINFO] = answer(body)
    assert failure(homeservers, local) is Reason.MALFORMED


@pytest.mark.parametrize("status", [201, 204, 404, 429, 500, 503])
def test_only_status_200_counts(homeservers: Homeservers, local: FakeHomeserver, status: int) -> None:
    local.routes[USERINFO] = answer(json.dumps({"sub": f"@alice:{local.name}"}), status=status)
    assert failure(homeservers, local) is Reason.MALFORMED


def test_a_redirect_is_not_followed(homeservers: Homeservers, local: FakeHomeserver) -> None:
    local.tokens["token"] = f"@alice:{local.name}"
    local.routes["/moved"] = local.routes[USERINFO]
    local.routes[USERINFO] = redirect("/moved?access_token=token")
    assert failure(homeservers, local) is Reason.MALFORMED


def test_http_1_0_without_a_content_type_is_understood(homeservers: Homeservers, local: FakeHomeserver) -> None:
    local.routes[USERINFO] = raw(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps({"sub": f"@alice:{local.name}"}).encode())
    assert ask(homeservers, local) == f"@alice:{local.name}"


@pytest.mark.parametrize(("route", "reason"), [(raw(b""), Reason.UNREACHABLE), (answer("x" * 60_000), Reason.TOO_LARGE)])
def test_a_broken_homeserver_is_a_failure(
    homeservers: Homeservers, local: FakeHomeserver, route: Route, reason: Reason
) -> None:
    local.routes[USERINFO] = route
    assert failure(homeservers, local) is reason


def test_a_hanging_homeserver_is_a_failure(homeservers: Homeservers, local: FakeHomeserver) -> None:
    local.routes[USERINFO] = hang
    impatient = Homeservers(SystemClock(), homeservers.transport, homeservers.discovery, SIGNER, timeout_s=0.3)
    assert failure(impatient, local) is Reason.TIMEOUT


def test_without_allowed_networks_loopback_is_blocked(ca_file: Path, local: FakeHomeserver) -> None:
    assert failure(build(Federation(ca_file=ca_file), SystemClock(), SIGNER), local) is Reason.BLOCKED
    assert local.requests == []


def test_a_homeserver_off_the_list_is_blocked_without_traffic(transport: Transport, dns: FakeDns, homeserver: FakeHomeserver) -> None:  # fmt: skip
    discovery = Discovery(WellKnown(transport, SystemClock(), homeserver.port), dns.resolver())
    listed = Homeservers(SystemClock(), transport, discovery, SIGNER, frozenset({"other.example"}))
    assert failure(listed, homeserver) is Reason.BLOCKED
    assert homeserver.requests == []
    assert dns.queries == []


def test_a_homeserver_on_the_list_is_asked(ca_file: Path, local: FakeHomeserver) -> None:
    settings = Federation(ca_file=ca_file, allow_networks=LOOPBACK, allowed_homeservers=(local.name,))
    local.tokens["token"] = f"@alice:{local.name}"
    assert ask(build(settings, SystemClock(), SIGNER), local) == f"@alice:{local.name}"


def test_a_delegated_homeserver_is_found_and_called_by_its_delegated_name(
    transport: Transport, dns: FakeDns, homeserver: FakeHomeserver
) -> None:
    dns.records["matrix.hs.example", "A"] = ["127.0.0.1"]
    homeserver.delegate_to(f"matrix.hs.example:{homeserver.port}")
    homeserver.tokens["token"] = "@alice:hs.example"
    discovery = Discovery(WellKnown(transport, SystemClock(), homeserver.port), dns.resolver())
    assert ask(Homeservers(SystemClock(), transport, discovery, SIGNER), homeserver) == "@alice:hs.example"
    assert homeserver.requests[-1][1]["Host"] == f"matrix.hs.example:{homeserver.port}"


def test_srv_targets_are_tried_until_one_connects(transport: Transport, dns: FakeDns, homeserver: FakeHomeserver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed_port = listener.getsockname()[1]
    dns.records["_matrix-fed._tcp.hs.example", "SRV"] = [
        "1 0 1 unknown.example.",
        f"2 0 {closed_port} hs.example.",
        f"3 0 {homeserver.port} hs.example.",
    ]
    homeserver.tokens["token"] = "@alice:hs.example"
    discovery = Discovery(WellKnown(transport, SystemClock(), homeserver.port), dns.resolver())
    assert ask(Homeservers(SystemClock(), transport, discovery, SIGNER), homeserver) == "@alice:hs.example"
    assert homeserver.requests[-1][1]["Host"] == "hs.example"


def test_roots_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"federation\.ca_file"):
        build(Federation(ca_file=tmp_path / "missing.pem"), SystemClock(), SIGNER)
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ConfigurationError, match=r"federation\.ca_file"):
        build(Federation(ca_file=tmp_path / "empty.pem"), SystemClock(), SIGNER)


def failure(homeservers: Homeservers, homeserver: FakeHomeserver) -> Reason:
    with pytest.raises(RequestFailed) as caught:
        ask(homeservers, homeserver)
    assert "token" not in str(caught.value)
    return caught.value.reason
