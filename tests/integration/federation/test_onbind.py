"""Telling a homeserver about a binding, over real TLS, whatever dialect it speaks and however it fails."""

import ipaddress
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from signedjson.key import generate_signing_key, get_verify_key

from sydent_py.clock import SystemClock
from sydent_py.federation.client import Homeservers, Refused, build
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.identifiers import ServerName
from sydent_py.settings import Federation
from sydent_py.signing import Signer
from tests.fakes.homeserver import (
    ONBIND,
    FakeHomeserver,
    Handler,
    Route,
    answer,
    drip,
    hang,
    raw,
    redirect,
    unrecognized_method,
    unsigned_only,
)
from tests.fakes.tls import CertificateAuthority

KEY = generate_signing_key("0")
SIGNER = Signer("id.test", (KEY, generate_signing_key("1")))
CONTENT = {
    "medium": "email",
    "address": "alice@example.org",
    "mxid": "@alice:hs.test",
    "ts": 1_800_000_000_000,
    "signatures": {"id.test": {"ed25519:0": "…"}},
    "invites": [{"room_id": "!room:hs.test", "token": "ünïcode \U0001f600"}],
}
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
OK = answer("{}")


@pytest.fixture
def local(authority: CertificateAuthority) -> Iterator[FakeHomeserver]:
    with FakeHomeserver(authority) as server:
        yield server


@pytest.fixture
def homeservers(ca_file: Path) -> Homeservers:
    return build(Federation(ca_file=ca_file, allow_networks=LOOPBACK), SystemClock(), SIGNER)


def tell(homeservers: Homeservers, homeserver: FakeHomeserver, *, signed: bool = True) -> None:
    homeservers.onbind(ServerName.parse(homeserver.name), CONTENT, signed=signed)


def dialect(homeserver: FakeHomeserver, *, put: Route, post: Route) -> None:
    homeserver.routes[f"PUT {ONBIND}"], homeserver.routes[f"POST {ONBIND}"] = put, post


def attempts(homeserver: FakeHomeserver) -> list[tuple[str, bool]]:
    """The method of each attempt, and whether it was signed."""
    return [(onbind.method, onbind.authorization is not None) for onbind in homeserver.onbinds]


def refuse(status: int, errcode: str = "") -> Route:
    return answer(f'{{"errcode": "{errcode}"}}' if errcode else "<html>", status=status)


def test_the_specification_has_it_put(homeservers: Homeservers, local: FakeHomeserver) -> None:
    dialect(local, put=OK, post=refuse(500))
    tell(homeservers, local)
    [onbind] = local.onbinds
    assert (onbind.method, onbind.content) == ("PUT", CONTENT)
    assert onbind.is_signed_by("id.test", get_verify_key(KEY), local.name)
    assert local.requests[0][1]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "put",
    [unrecognized_method, refuse(404), refuse(404, "M_NOT_FOUND"), refuse(405), refuse(400, "M_UNRECOGNIZED"), refuse(501)],
)
def test_synapse_has_it_posted(homeservers: Homeservers, local: FakeHomeserver, put: Route) -> None:
    dialect(local, put=put, post=OK)
    tell(homeservers, local)
    assert attempts(local) == [("PUT", True), ("POST", True)]
    assert local.onbinds[1].content == CONTENT
    assert local.onbinds[1].is_signed_by("id.test", get_verify_key(KEY), local.name)


def test_a_homeserver_that_cannot_reach_our_keys_gets_it_unsigned(homeservers: Homeservers, local: FakeHomeserver) -> None:
    dialect(local, put=unsigned_only, post=OK)
    tell(homeservers, local)
    assert attempts(local) == [("PUT", True), ("PUT", False)]
    assert local.onbinds[1].content == CONTENT


def test_with_post_too(homeservers: Homeservers, local: FakeHomeserver) -> None:
    dialect(local, put=unrecognized_method, post=unsigned_only)
    tell(homeservers, local)
    assert attempts(local) == [("PUT", True), ("POST", True), ("POST", False)]


def test_one_that_takes_too_long_is_not_told_again_at_once(homeservers: Homeservers, local: FakeHomeserver) -> None:
    """It may act on both, and the second would undo how its user has answered."""

    def look_for_keys(handler: Handler) -> None:
        (hang if "Authorization" in handler.headers else OK)(handler)

    dialect(local, put=look_for_keys, post=OK)
    impatient = Homeservers(SystemClock(), homeservers.transport, homeservers.discovery, SIGNER, onbind_timeout_s=1)
    assert failure(impatient, local) == Reason.TIMEOUT
    assert attempts(local) == [("PUT", True)]
    tell(impatient, local, signed=False)
    assert attempts(local) == [("PUT", True), ("PUT", False)]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_success_is_one_whatever_it_says(homeservers: Homeservers, local: FakeHomeserver, status: int) -> None:
    dialect(local, put=answer(b"" if status == 204 else b"<html>", status=status), post=refuse(500))
    tell(homeservers, local)
    assert len(local.onbinds) == 1


@pytest.mark.parametrize(
    ("status", "errcode"), [(400, "M_BAD_JSON"), (403, "M_FORBIDDEN"), (403, ""), (410, ""), (413, "M_TOO_LARGE"), (418, "")]
)
def test_a_refusal_is_final(homeservers: Homeservers, local: FakeHomeserver, status: int, errcode: str) -> None:
    dialect(local, put=refuse(status, errcode), post=OK)
    with pytest.raises(Refused) as refusal:
        tell(homeservers, local)
    assert (refusal.value.status, refusal.value.errcode) == (status, errcode)
    assert attempts(local) == [("PUT", True)]


@pytest.mark.parametrize(
    ("put", "post", "status"),
    [
        (refuse(401, "M_UNAUTHORIZED"), OK, 401),
        (unrecognized_method, unrecognized_method, 405),
        (refuse(404), refuse(404), 404),
        (unrecognized_method, refuse(403, "M_FORBIDDEN"), 403),
    ],
)
def test_a_refusal_is_final_once_every_dialect_was_tried(
    homeservers: Homeservers, local: FakeHomeserver, put: Route, post: Route, status: int
) -> None:
    dialect(local, put=put, post=post)
    with pytest.raises(Refused) as refusal:
        tell(homeservers, local)
    assert refusal.value.status == status


@pytest.mark.parametrize(
    "body", ['{"errcode": "M_\\nFAKE log line"}', '{"errcode": 1}', "[]", '{"errcode": "' + "M" * 999 + '"}']
)
def test_an_errcode_that_is_none_is_not_repeated(homeservers: Homeservers, local: FakeHomeserver, body: str) -> None:
    dialect(local, put=answer(body, status=403), post=OK)
    with pytest.raises(Refused) as refusal:
        tell(homeservers, local)
    assert (refusal.value.errcode, str(refusal.value)) == ("", "403")


@pytest.mark.parametrize("status", [300, 304, 307, 408, 429, 500, 502, 503, 599])
def test_what_may_pass_is_a_failure_to_be_tried_again(homeservers: Homeservers, local: FakeHomeserver, status: int) -> None:
    dialect(local, put=refuse(status, "M_LIMIT_EXCEEDED"), post=OK)
    assert failure(homeservers, local) == Reason.STATUS
    assert len(local.onbinds) == 1


def test_a_redirect_is_not_followed(homeservers: Homeservers, local: FakeHomeserver) -> None:
    dialect(local, put=redirect(f"https://{local.name}/elsewhere", status=308), post=OK)
    assert failure(homeservers, local) == Reason.STATUS
    assert len(local.requests) == 1


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        (raw(b""), Reason.UNREACHABLE),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), Reason.MALFORMED),
        (answer("x" * 60_000), Reason.TOO_LARGE),
    ],
)
def test_a_broken_homeserver_is_a_failure(
    homeservers: Homeservers, local: FakeHomeserver, route: Route, reason: Reason
) -> None:
    dialect(local, put=route, post=OK)
    assert failure(homeservers, local) == reason


@pytest.mark.parametrize("route", [hang, drip(b"HTTP/1.1 200 OK\r\nA: ")], ids=["silent", "dripping"])
def test_a_hanging_homeserver_is_a_failure_in_time(homeservers: Homeservers, local: FakeHomeserver, route: Route) -> None:
    dialect(local, put=route, post=OK)
    impatient = Homeservers(SystemClock(), homeservers.transport, homeservers.discovery, SIGNER, onbind_timeout_s=0.6)
    started_s = time.monotonic()
    assert failure(impatient, local) == Reason.TIMEOUT
    assert time.monotonic() - started_s < 3


def test_a_homeserver_that_is_not_there_is_a_failure(homeservers: Homeservers, authority: CertificateAuthority) -> None:
    with FakeHomeserver(authority) as gone:
        pass
    assert failure(homeservers, gone) == Reason.UNREACHABLE


def test_without_allowed_networks_loopback_is_told_nothing(ca_file: Path, local: FakeHomeserver) -> None:
    assert failure(build(Federation(ca_file=ca_file), SystemClock(), SIGNER), local) == Reason.BLOCKED
    assert local.requests == []


def test_a_homeserver_off_the_list_is_told_nothing(ca_file: Path, local: FakeHomeserver) -> None:
    settings = Federation(ca_file=ca_file, allow_networks=LOOPBACK, allowed_homeservers=("other.example",))
    assert failure(build(settings, SystemClock(), SIGNER), local) == Reason.BLOCKED
    assert local.requests == []


@pytest.mark.parametrize("route", [raw(b"nonsense\r\n"), raw(b""), refuse(500), refuse(403, "M_FORBIDDEN")])
def test_no_failure_and_no_log_tells_the_address(
    homeservers: Homeservers, local: FakeHomeserver, caplog: pytest.LogCaptureFixture, route: Route
) -> None:
    dialect(local, put=route, post=route)
    with caplog.at_level(0), pytest.raises((RequestFailed, Refused)) as caught:
        tell(homeservers, local)
    assert "alice" not in "".join(traceback.format_exception_only(caught.value)) + caplog.text
    assert caught.value.__cause__ is None


def failure(homeservers: Homeservers, homeserver: FakeHomeserver) -> Any:
    with pytest.raises(RequestFailed) as caught:
        tell(homeservers, homeserver)
    return caught.value.reason
