"""A peer is believed by the signature of a pinned key, for one server, for a few minutes, once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from nacl.signing import SigningKey
from signedjson.key import decode_signing_key_base64
from sqlalchemy import text
from unpaddedbase64 import encode_base64
from werkzeug.test import TestResponse

from sydent_py import tokens
from sydent_py.federation import x_matrix
from sydent_py.federation.x_matrix import Stamp
from sydent_py.replication.authenticate import WINDOW_MS
from sydent_py.signing import Signer
from tests.driver import OWN, refusal
from tests.usecases.replication.conftest import Federate, Federation, Server, peer_section, seed, verify_key

PAYLOADS = f"{OWN}/log/payloads?from=0&limit=10"
NUDGE = f"{OWN}/peers/nudge"
# For what the database has no part in.
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"])
FORBIDDEN = (403, "M_FORBIDDEN")


def signer(name: str, purpose: str = "signing", version: str = "0") -> Signer:
    return Signer(name, (decode_signing_key_base64("ed25519", version, encode_base64(seed(name, purpose))),))


@dataclass
class Asking:
    """Asks the server ``a.test`` in somebody's name."""

    federation: Federation

    @property
    def server(self) -> Server:
        return self.federation["a"]

    def stamp(self, ahead_ms: int = 0) -> Stamp:
        return Stamp(self.federation.clock.now_ms() + ahead_ms, tokens.new_sid())

    def sign(self, uri: str = PAYLOADS, *, by: Signer | None = None, **different: Any) -> str:
        """The header of a request as ``b.test`` makes it, but for what is ``different``."""
        content = {"size": 1} if uri == NUDGE else None
        request = {"method": "POST" if content else "GET", "uri": uri, "destination": "a.test", "content": content}
        return x_matrix.authorization(by or signer("b.test"), **{**request, "stamp": self.stamp(), **different})

    def get(self, authorization: str, uri: str = PAYLOADS, **options: Any) -> TestResponse:
        return self.server.driver.request("GET", uri, headers={"Authorization": authorization}, **options)

    def nudge(self, authorization: str, body: bytes = b'{"size": 1}', method: str = "POST") -> TestResponse:
        return self.server.driver.request(method, NUDGE, data=body, headers={"Authorization": authorization})

    def nonces(self) -> int:
        with self.server.driver.services.database.begin() as db:
            return int(db.execute(text("SELECT count(*) FROM peer_nonces")).scalar_one())


@pytest.fixture
def asking(federate: Federate) -> Iterator[Asking]:
    federation = federate("a")
    federation.launch("a.test", peers=[peer_section("b.test"), peer_section("c.test")])
    return Asking(federation)


def test_a_peer_is_believed(asking: Asking) -> None:
    answer = asking.get(asking.sign())
    assert (answer.status_code, answer.get_json()) == (200, {"payloads": []})
    answer = asking.nudge(asking.sign(NUDGE))
    assert (answer.status_code, answer.get_json()) == (200, {})


def test_a_request_is_believed_once(asking: Asking) -> None:
    header = asking.sign()
    assert asking.get(header).status_code == 200
    asking.federation.clock.advance(1)
    assert refusal(asking.get(header)) == FORBIDDEN
    other = asking.sign(NUDGE)
    assert asking.nudge(other).status_code == 200
    assert refusal(asking.nudge(other)) == FORBIDDEN


def test_a_request_is_believed_once_by_all_processes_and_after_a_restart(asking: Asking) -> None:
    header = asking.sign()
    assert asking.get(header).status_code == 200
    asking.federation.launch("a.test", peers=[peer_section("b.test")])
    assert refusal(asking.get(header)) == FORBIDDEN


def test_a_nonce_is_its_peers_own(asking: Asking) -> None:
    stamp = asking.stamp()
    for name in ("b.test", "c.test"):
        assert asking.get(asking.sign(by=signer(name), stamp=stamp)).status_code == 200
        assert refusal(asking.get(asking.sign(f"{PAYLOADS}1", by=signer(name), stamp=stamp), f"{PAYLOADS}1")) == FORBIDDEN


@ON_SQLITE
@pytest.mark.parametrize("ahead_ms", [-WINDOW_MS, WINDOW_MS])
def test_a_clock_may_be_a_few_minutes_off_and_no_more(asking: Asking, ahead_ms: int) -> None:
    assert asking.get(asking.sign(stamp=asking.stamp(ahead_ms))).status_code == 200
    beyond = ahead_ms + (1 if ahead_ms > 0 else -1)
    answer = asking.get(asking.sign(stamp=asking.stamp(beyond)))
    assert refusal(answer) == FORBIDDEN
    assert str(asking.federation.clock.now_ms()) in answer.get_json()["error"]


@ON_SQLITE
def test_a_request_without_stamp_as_homeservers_sign_it_is_refused(asking: Asking) -> None:
    assert refusal(asking.get(asking.sign(stamp=None))) == FORBIDDEN


@ON_SQLITE
@pytest.mark.parametrize(("name", "value"), [("ts", None), ("nonce", None), ("ts", "soon"), ("nonce", "short"), ("ts", "0")])
def test_a_request_without_time_or_nonce_is_refused(asking: Asking, name: str, value: str | None) -> None:
    parameters = dict(each.split("=", 1) for each in asking.sign().removeprefix("X-Matrix ").split(","))
    different = {**parameters, name: f'"{value}"'}
    if value is None:
        del different[name]
    assert refusal(asking.get("X-Matrix " + ",".join(f"{key}={each}" for key, each in different.items()))) == FORBIDDEN


@ON_SQLITE
@pytest.mark.parametrize("name", ["ts", "nonce", "sig", "origin", "key"])
def test_a_header_that_was_changed_is_refused(asking: Asking, name: str) -> None:
    other = {"ts": f"{asking.federation.clock.now_ms() - 1}", "nonce": "n" * 22, "origin": "c.test", "key": "ed25519:1"}
    other["sig"] = encode_base64(bytes(64))
    parameters = dict(each.split("=", 1) for each in asking.sign().removeprefix("X-Matrix ").split(","))
    changed = {**parameters, name: f'"{other[name]}"'}
    assert refusal(asking.get("X-Matrix " + ",".join(f"{key}={each}" for key, each in changed.items()))) == FORBIDDEN
    assert asking.nonces() == 0


@ON_SQLITE
def test_what_is_refused_spends_no_nonce(asking: Asking) -> None:
    stamp = asking.stamp()
    forged = signer("b.test", "another")
    assert refusal(asking.get(asking.sign(by=forged, stamp=stamp))) == FORBIDDEN
    assert asking.get(asking.sign(stamp=stamp)).status_code == 200


@ON_SQLITE
@pytest.mark.parametrize("destination", ["c.test", "", "a.test.evil.test", "test"])
def test_a_request_to_another_server_is_refused(asking: Asking, destination: str) -> None:
    assert refusal(asking.get(asking.sign(destination=destination))) == FORBIDDEN


@ON_SQLITE
def test_a_request_that_names_no_server_is_refused(asking: Asking) -> None:
    header = asking.sign()
    without = ",".join(each for each in header.split(",") if not each.startswith("destination="))
    assert "destination" not in without
    assert refusal(asking.get(without)) == FORBIDDEN


@ON_SQLITE
def test_a_request_may_name_an_alias(asking: Asking) -> None:
    asking.federation.launch("a.test", peers=[peer_section("b.test")], server={"aliases": ["old.test"]})
    assert asking.get(asking.sign(destination="old.test")).status_code == 200


@ON_SQLITE
@pytest.mark.parametrize("name", ["stranger.test", "a.test", "b.test.evil.test", "B.test2"])
def test_a_server_that_is_no_peer_is_refused(asking: Asking, name: str) -> None:
    assert refusal(asking.get(asking.sign(by=signer(name)))) == FORBIDDEN


@ON_SQLITE
def test_a_key_that_is_not_pinned_is_refused(asking: Asking) -> None:
    assert refusal(asking.get(asking.sign(by=signer("b.test", version="1")))) == FORBIDDEN
    assert refusal(asking.get(asking.sign(by=signer("b.test", "other")))) == FORBIDDEN
    stolen = Signer("b.test", signer("c.test").keys)
    assert refusal(asking.get(asking.sign(by=stolen))) == FORBIDDEN


@ON_SQLITE
def test_an_older_key_that_is_pinned_is_believed(asking: Asking) -> None:
    older = verify_key("b.test", "old", "ed25519:old")
    asking.federation.launch("a.test", peers=[peer_section("b.test", old_verify_keys=[older])])
    assert asking.get(asking.sign(by=signer("b.test", "old", "old"))).status_code == 200


@ON_SQLITE
@pytest.mark.parametrize(
    "uri",
    [
        f"{OWN}/log/payloads?from=0&limit=11",
        f"{OWN}/log/payloads?limit=10&from=0",
        f"{OWN}/log/payloads",
        f"{OWN}/log/payloads?from=0&limit=10&",
        f"{OWN}/log/payload%73?from=0&limit=10",
    ],
)
def test_a_request_whose_uri_was_changed_is_refused(asking: Asking, uri: str) -> None:
    assert refusal(asking.get(asking.sign(), uri)) == FORBIDDEN


@ON_SQLITE
@pytest.mark.parametrize("body", [b'{"size": 2}', b"{}", b'{"size": 1, "more": 1}', b'{"size": true}'])
def test_a_request_whose_body_was_changed_is_refused(asking: Asking, body: bytes) -> None:
    assert refusal(asking.nudge(asking.sign(NUDGE), body)) == FORBIDDEN


@ON_SQLITE
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, "M_NOT_JSON")),
        (b"\xff", (400, "M_NOT_JSON")),
        (b"[" * 100_000, (413, "M_TOO_LARGE")),
        (b"[" * 10_000, (400, "M_BAD_JSON")),
        (b"[]", (400, "M_BAD_JSON")),
        (b'{"size": 1, "size": 1}', (400, "M_BAD_JSON")),
    ],
)
def test_a_body_that_cannot_have_been_signed_is_refused(asking: Asking, body: bytes, expected: tuple[int, str]) -> None:
    assert refusal(asking.nudge(asking.sign(NUDGE), body)) == expected


@ON_SQLITE
def test_a_request_whose_method_was_changed_is_refused(asking: Asking) -> None:
    assert refusal(asking.nudge(asking.sign(NUDGE, method="PUT"))) == FORBIDDEN
    assert refusal(asking.get(asking.sign(method="POST"))) == FORBIDDEN
    assert refusal(asking.nudge(asking.sign(NUDGE), method="PUT")) == (405, "M_UNRECOGNIZED")


@ON_SQLITE
@pytest.mark.parametrize("content", [{"size": -1}, {"size": "1"}, {"size": 1.5}, {"size": 2**53}, {"size": True}, {}])
def test_what_a_peer_signs_is_checked_all_the_same(asking: Asking, content: dict[str, Any]) -> None:
    answer = asking.nudge(asking.sign(NUDGE, content=content), json.dumps(content).encode())
    assert answer.status_code in {400, 403}
    refusal(answer)


@ON_SQLITE
@pytest.mark.parametrize(
    "query", ["limit=5", "from=-1", "from=x", "from=0&limit=0", "from=0&limit=257", "from=0&from=1", "from=1e3"]
)
def test_a_range_that_is_none_is_refused(asking: Asking, query: str) -> None:
    uri = f"{OWN}/log/payloads?{query}"
    assert refusal(asking.get(asking.sign(uri), uri))[0] == 400


def test_a_range_beyond_the_log_is_empty(asking: Asking) -> None:
    uri = f"{OWN}/log/payloads?from={2**53 - 1}"
    assert asking.get(asking.sign(uri), uri).get_json() == {"payloads": []}


@ON_SQLITE
@pytest.mark.parametrize("header", ["", "Bearer token", "X-Matrix", "X-Matrix origin=b.test", "Basic YTpi", "x-matrix ,,,"])
def test_whoever_signs_nothing_is_told_so(asking: Asking, header: str) -> None:
    for answer in (asking.get(header), asking.nudge(header)):
        assert refusal(answer) in {(401, "M_UNAUTHORIZED"), FORBIDDEN}


@ON_SQLITE
def test_an_account_is_no_peer(asking: Asking) -> None:
    token = asking.server.driver.register()
    assert refusal(asking.server.driver.request("GET", PAYLOADS, token)) == (401, "M_UNAUTHORIZED")


@ON_SQLITE
def test_a_homeserver_is_no_peer(asking: Asking) -> None:
    homeservers = asking.server.driver.homeservers
    header = homeservers.sign("hs.test", "POST", NUDGE, {"size": 1}, "a.test")
    assert refusal(asking.nudge(header)) == FORBIDDEN


def test_a_request_is_forgotten_when_it_would_not_be_believed_any_more_and_no_sooner(asking: Asking) -> None:
    services = asking.server.driver.services
    header = asking.sign()
    assert asking.get(header).status_code == 200
    asking.federation.clock.advance(WINDOW_MS / 1000)
    services.forget_expired()
    assert asking.nonces() == 1
    assert refusal(asking.get(header)) == FORBIDDEN
    asking.federation.clock.advance(1)
    services.forget_expired()
    assert asking.nonces() == 0
    assert refusal(asking.get(header)) == FORBIDDEN


@ON_SQLITE
def test_a_key_signs_for_its_own_name_alone(asking: Asking) -> None:
    assert SigningKey(seed("b.test", "signing")) != SigningKey(seed("c.test", "signing"))
    two = f"{asking.sign()}, {asking.sign(by=signer('c.test'))}"
    assert refusal(asking.get(two)) == FORBIDDEN
