"""Which keys of a homeserver are believed, how long, and how often it is asked."""

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signedjson.key import encode_verify_key_base64, generate_signing_key, get_verify_key
from signedjson.sign import sign_json

from sydent_py.federation.server_keys import (
    ASK_AGAIN_AFTER_FAILURE_S,
    ASK_AGAIN_S,
    MAX_KEYS,
    MAX_LIFETIME_S,
    MAX_SERVERS,
    ServerKeys,
    read_keys,
)
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.identifiers import ServerName
from tests.fakes.clock import FakeClock
from tests.fakes.homeserver import DAY_MS, key_document
from tests.fakes.homeservers import FakeHomeservers

HS = ServerName.parse("hs.test")
NOW_MS = 1_800_000_000_000
KEY, OLD_KEY = generate_signing_key("new"), generate_signing_key("old")
DOCUMENT = key_document("hs.test", KEY, [OLD_KEY], NOW_MS + DAY_MS)

Change = Callable[[dict[str, Any]], Any]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def public(key: Any) -> str:
    return str(encode_verify_key_base64(get_verify_key(key)))


class TestDocument:
    def test_it_gives_the_keys_that_signed_it(self) -> None:
        keys, valid_until_ts = read_keys(DOCUMENT, HS, NOW_MS)
        assert {key_id: base64.b64encode(bytes(key)).decode().rstrip("=") for key_id, key in keys.items()} == {
            "ed25519:new": public(KEY)
        }
        assert valid_until_ts == NOW_MS + DAY_MS

    def test_each_of_several_keys_has_to_sign(self) -> None:
        second, third = generate_signing_key("second"), generate_signing_key("third")
        unsigned = {name: value for name, value in DOCUMENT.items() if name != "signatures"}
        unsigned["verify_keys"] = {f"ed25519:{key.version}": {"key": public(key)} for key in (KEY, second, third)}
        document = sign_json(sign_json(unsigned, "hs.test", KEY), "hs.test", third)
        document["unsigned"] = {"age": 1.5}
        assert set(read_keys(document, HS, NOW_MS)[0]) == {"ed25519:new", "ed25519:third"}

    def test_a_key_that_is_none_does_not_spoil_the_others(self) -> None:
        unsigned = {name: value for name, value in DOCUMENT.items() if name != "signatures"}
        strange = {
            "rsa:1": {"key": "x"},
            "ed25519:short": {"key": "AAAA"},
            "ed25519:none": {},
            "ed25519:list": [],
            "": {"key": 1},
        }
        unsigned["verify_keys"] = {**unsigned["verify_keys"], **strange}
        assert set(read_keys(sign_json(unsigned, "hs.test", KEY), HS, NOW_MS)[0]) == {"ed25519:new"}

    @pytest.mark.parametrize(
        "change",
        [
            lambda document: document.pop("server_name"),
            lambda document: document.update(server_name="HS.test"),
            lambda document: document.update(server_name="other.test"),
            lambda document: document.pop("valid_until_ts"),
            lambda document: document.update(valid_until_ts=NOW_MS),
            lambda document: document.update(valid_until_ts=NOW_MS + 0.5),
            lambda document: document.update(valid_until_ts=True),
            lambda document: document.update(valid_until_ts=str(NOW_MS + DAY_MS)),
            lambda document: document.pop("verify_keys"),
            lambda document: document.update(verify_keys={}),
            lambda document: document.update(verify_keys=[]),
            lambda document: document.update(verify_keys={"ed25519:old": document["old_verify_keys"]["ed25519:old"]}),
            lambda document: document.update(
                verify_keys={f"ed25519:{number}": {"key": public(KEY)} for number in range(MAX_KEYS + 1)}
            ),
            lambda document: document.update(nan=float("nan")),
            lambda document: document.update(surrogate="\ud800"),
        ],
    )
    def test_a_bad_one_is_refused_though_it_is_signed(self, change: Change) -> None:
        document = {name: value for name, value in DOCUMENT.items() if name != "signatures"}
        change(document)
        try:
            document = sign_json(document, "hs.test", KEY)
        except ValueError:
            document = {**document, "signatures": DOCUMENT["signatures"]}
        with pytest.raises(RequestFailed) as failure:
            read_keys(document, HS, NOW_MS)
        assert failure.value.reason is Reason.MALFORMED

    @pytest.mark.parametrize(
        "signatures",
        [
            None,
            [],
            {},
            {"hs.test": None},
            {"hs.test": {}},
            {"hs.test": {"ed25519:new": None}},
            {"hs.test": {"ed25519:new": "AAAA"}},
            {"hs.test": {"ed25519:new": base64.b64encode(bytes(64)).decode()}},
            {"other.test": DOCUMENT["signatures"]["hs.test"]},
            sign_json({"server_name": "hs.test"}, "hs.test", KEY)["signatures"],
        ],
    )
    def test_one_that_the_key_has_not_signed_is_refused(self, signatures: Any) -> None:
        with pytest.raises(RequestFailed):
            read_keys({**DOCUMENT, "signatures": signatures}, HS, NOW_MS)

    @given(st.sampled_from(sorted(DOCUMENT)), JSON)
    def test_whatever_is_in_it_nothing_breaks(self, member: str, value: Any) -> None:
        document = {**DOCUMENT, member: value}
        if document == DOCUMENT:
            return
        with pytest.raises(RequestFailed):
            read_keys(document, HS, NOW_MS)

    @given(st.dictionaries(st.text(max_size=12) | st.just("ed25519:new"), JSON, max_size=3))
    def test_whatever_is_among_its_keys_or_signatures_nothing_breaks(self, value: dict[str, Any]) -> None:
        for document in ({**DOCUMENT, "verify_keys": value}, {**DOCUMENT, "signatures": {"hs.test": value}}):
            with pytest.raises(RequestFailed):
                read_keys(document, HS, NOW_MS)


class TestMemory:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock(NOW_MS)

    @pytest.fixture
    def homeservers(self, clock: FakeClock) -> FakeHomeservers:
        return FakeHomeservers(clock)

    @pytest.fixture
    def server_keys(self, homeservers: FakeHomeservers, clock: FakeClock) -> ServerKeys:
        return ServerKeys(homeservers, clock)

    def test_what_was_never_asked_is_not_remembered(self, server_keys: ServerKeys) -> None:
        assert server_keys.remembered(HS, ["ed25519:k0"]) is None

    def test_keys_are_remembered_until_they_expire(self, server_keys: ServerKeys, clock: FakeClock) -> None:
        assert set(server_keys.fetch(HS)) == {"ed25519:k0"}
        clock.advance(86_399)
        assert set(server_keys.remembered(HS, ["ed25519:k0"]) or ()) == {"ed25519:k0"}
        clock.advance(1)
        assert server_keys.remembered(HS, ["ed25519:k0"]) is None

    def test_no_key_is_believed_for_longer_than_a_week(
        self, server_keys: ServerKeys, homeservers: FakeHomeservers, clock: FakeClock
    ) -> None:
        homeservers.key_lifetime_ms = 2**52
        server_keys.fetch(HS)
        clock.advance(MAX_LIFETIME_S - 1)
        assert server_keys.remembered(HS, ["ed25519:k0"])
        clock.advance(1)
        assert server_keys.remembered(HS, ["ed25519:k0"]) is None

    def test_one_known_key_id_of_several_is_enough(self, server_keys: ServerKeys, clock: FakeClock) -> None:
        server_keys.fetch(HS)
        clock.advance(ASK_AGAIN_S)
        assert server_keys.remembered(HS, ["ed25519:made_up", "ed25519:k0"])

    def test_an_unknown_key_id_asks_again_though_not_at_once(
        self, server_keys: ServerKeys, homeservers: FakeHomeservers, clock: FakeClock
    ) -> None:
        server_keys.fetch(HS)
        homeservers.rotate_key("hs.test")
        clock.advance(ASK_AGAIN_S - 1)
        assert set(server_keys.remembered(HS, ["ed25519:k1"]) or ()) == {"ed25519:k0"}
        assert set(server_keys.fetch(HS)) == {"ed25519:k0"}
        assert homeservers.key_requests == ["hs.test"]
        clock.advance(1)
        assert server_keys.remembered(HS, ["ed25519:k1"]) is None
        assert set(server_keys.fetch(HS)) == {"ed25519:k1"}
        assert server_keys.remembered(HS, ["ed25519:k1"])

    def test_a_rotated_key_is_forgotten_with_the_document_it_was_in(
        self, server_keys: ServerKeys, homeservers: FakeHomeservers, clock: FakeClock
    ) -> None:
        server_keys.fetch(HS)
        homeservers.rotate_key("hs.test")
        clock.advance(ASK_AGAIN_S)
        server_keys.fetch(HS)
        assert "ed25519:k0" not in (server_keys.remembered(HS, ["ed25519:k0"]) or ())

    def test_a_failure_is_remembered_for_a_while(
        self, server_keys: ServerKeys, homeservers: FakeHomeservers, clock: FakeClock
    ) -> None:
        homeservers.down.add("hs.test")
        for _ in range(3):
            with pytest.raises(RequestFailed) as failure:
                server_keys.fetch(HS)
            assert failure.value.reason is Reason.UNREACHABLE
        assert homeservers.key_requests == ["hs.test"]
        assert server_keys.remembered(HS, ["ed25519:k0"]) is None
        homeservers.down.clear()
        clock.advance(ASK_AGAIN_AFTER_FAILURE_S)
        assert server_keys.fetch(HS)

    def test_known_keys_outlive_a_failure_and_unknown_ones_are_asked_for_again(
        self, server_keys: ServerKeys, homeservers: FakeHomeservers, clock: FakeClock
    ) -> None:
        server_keys.fetch(HS)
        clock.advance(ASK_AGAIN_S)
        homeservers.down.add("hs.test")
        with pytest.raises(RequestFailed):
            server_keys.fetch(HS)
        assert server_keys.remembered(HS, ["ed25519:k0"])
        assert server_keys.remembered(HS, ["ed25519:k1"]) is None

    def test_the_servers_needed_last_are_remembered(self, server_keys: ServerKeys) -> None:
        server_keys.fetch(HS)
        others = [ServerName.parse(f"hs{number}.test") for number in range(MAX_SERVERS)]
        for other in others[:-1]:
            server_keys.fetch(other)
        assert server_keys.remembered(HS, ["ed25519:k0"])
        server_keys.fetch(others[-1])
        assert server_keys.remembered(HS, ["ed25519:k0"])
        assert server_keys.remembered(others[0], ["ed25519:k0"]) is None
        assert server_keys.remembered(others[1], ["ed25519:k0"])

    def test_many_threads_that_want_one_server_ask_it_once_and_delay_no_other(
        self, homeservers: FakeHomeservers, clock: FakeClock
    ) -> None:
        asked, answer = threading.Event(), threading.Event()

        class Slow:
            def server_keys(self, server: ServerName) -> dict[str, Any]:
                if server == HS:
                    asked.set()
                    assert answer.wait(10)
                return homeservers.server_keys(server)

        server_keys = ServerKeys(Slow(), clock)
        with ThreadPoolExecutor(8) as threads:
            waiting = [threads.submit(server_keys.fetch, HS) for _ in range(8)]
            assert asked.wait(10)
            assert server_keys.fetch(ServerName.parse("other.test"))
            answer.set()
            assert all(set(each.result(10)) == {"ed25519:k0"} for each in waiting)
        assert homeservers.key_requests == ["other.test", "hs.test"]
