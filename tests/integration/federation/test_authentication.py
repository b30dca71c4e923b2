"""Requests that a homeserver signs, verified with the keys it publishes over real TLS."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from signedjson.key import generate_signing_key

from sydent_py.clock import SystemClock
from sydent_py.errors import Forbidden, Unknown
from sydent_py.federation.authentication import AuthenticateHomeserver
from sydent_py.federation.client import build
from sydent_py.federation.patience import Slots
from sydent_py.federation.server_keys import ServerKeys
from sydent_py.federation.x_matrix import SignedRequest
from sydent_py.settings import Federation
from sydent_py.signing import Signer
from tests.fakes.homeserver import SERVER_KEYS, FakeHomeserver, Route, answer, raw, redirect
from tests.fakes.tls import CertificateAuthority

URI = "/_matrix/identity/v2/3pid/unbind"
CONTENT = {"mxid": "@alice:hs.test"}


@pytest.fixture
def local(authority: CertificateAuthority) -> Iterator[FakeHomeserver]:
    with FakeHomeserver(authority) as server:
        yield server


@pytest.fixture
def authenticate(ca_file: Path) -> AuthenticateHomeserver:
    clock, networks = SystemClock(), (ipaddress.ip_network("127.0.0.0/8"),)
    signer = Signer("id.test", (generate_signing_key("0"),))
    homeservers = build(Federation(ca_file=ca_file, allow_networks=networks), clock, signer)
    return AuthenticateHomeserver(
        ServerKeys(homeservers, clock), ("id.test",), lambda _budget, _subject: None, clock, Slots(2)
    )


def receive(authenticate: AuthenticateHomeserver, header: str) -> str:
    return authenticate(SignedRequest("POST", URI, CONTENT, header), "192.0.2.1").origin.text


def test_a_homeserver_is_believed_with_the_key_it_publishes(
    authenticate: AuthenticateHomeserver, local: FakeHomeserver
) -> None:
    for member in ("destination_is", "destination"):
        assert receive(authenticate, local.sign("POST", URI, CONTENT, "id.test", member=member)) == local.name
    assert [path for path, _ in local.requests] == [SERVER_KEYS]


def test_a_key_it_has_put_away_is_forbidden(authenticate: AuthenticateHomeserver, local: FakeHomeserver) -> None:
    signed_before = local.sign("POST", URI, CONTENT, "id.test")
    local.rotate_key("fake2")
    with pytest.raises(Forbidden):
        receive(authenticate, signed_before)
    assert receive(authenticate, local.sign("POST", URI, CONTENT, "id.test")) == local.name


def test_a_homeserver_under_another_name_is_not_believed(
    authenticate: AuthenticateHomeserver, local: FakeHomeserver
) -> None:
    alias = f"127.0.0.1:{local.port}"
    with pytest.raises(Unknown):
        receive(authenticate, local.sign("POST", URI, CONTENT, "id.test").replace(local.name, alias))
    assert [path for path, _ in local.requests] == [SERVER_KEYS]


@pytest.mark.parametrize(
    "route",
    [
        answer("{}"),
        answer("[]"),
        answer("", status=404),
        answer("{}", status=500),
        redirect("/elsewhere"),
        raw(b""),
        answer('{"server_name": "localhost"}'),
        answer("x" * 60_000),
    ],
)
def test_keys_that_cannot_be_had_are_one_and_the_same_failure(
    authenticate: AuthenticateHomeserver, local: FakeHomeserver, route: Route
) -> None:
    local.routes[SERVER_KEYS] = route
    with pytest.raises(Unknown, match="The homeserver could not be asked") as failure:
        receive(authenticate, local.sign("POST", URI, CONTENT, "id.test"))
    assert failure.value.status == 502
