"""What a peer may say, and what of its log is put aside."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unpaddedbase64 import encode_base64

from sydent_py.bindings.register import Claim, Retraction
from sydent_py.federation.transport import RequestFailed
from sydent_py.identifiers import ThreePid
from sydent_py.log.audit import Contradiction
from sydent_py.peer_settings import Peer as PeerSettings
from sydent_py.replication import peers
from sydent_py.replication.entries import AHEAD_MS, MAX_ERASED, NEAR_MS, Erasure, Moment
from sydent_py.replication.pages import Page, read_page
from sydent_py.replication.peers import Peer
from tests.fakes.clock import FakeClock
from tests.fakes.lying_peer import BUNDLE, LyingPeer
from tests.usecases.replication.conftest import log_key, peer_section, seed, verify_key

NAME = "evil.test"
ALICE, ADDRESS = "@alice:hs.test", "alice@example.org"
NOW_MS = FakeClock().now_ms()


def configured(**sections: Any) -> Peer:
    return peers.read(PeerSettings.model_validate(peer_section(NAME, **sections)))


@pytest.fixture
def source() -> LyingPeer:
    return LyingPeer(NAME, seed(NAME, "signing"), log_key(NAME), FakeClock())


def read(source: LyingPeer, peer: Peer | None = None) -> Page:
    return read_page(source, peer or configured(), 0, len(source.entries), Moment(NOW_MS, None))


def reasons(page: Page) -> list[str]:
    assert not page.said
    assert all(bad.commitment for bad in page.bad)
    return [bad.reason for bad in page.bad]


def test_an_entry_says_what_its_payload_says(source: LyingPeer) -> None:
    bound = source.bind(ADDRESS, ALICE)
    source.unbind(ADDRESS, ALICE)
    source.erase(bound)
    page = read(source)
    threepid = ThreePid("email", ADDRESS)
    until_ms = source.claim(ADDRESS, ALICE)["not_after"]
    assert page.bad == []
    assert page.said == [
        Claim(threepid, ALICE, NOW_MS, NOW_MS, until_ms, bound),
        Retraction(threepid),
        Erasure((bound,), NOW_MS),
    ]


@pytest.mark.parametrize(
    "address",
    [
        "Alice@example.org",
        "alice@EXAMPLE.org",
        " alice@example.org",
        "alice@straße.de",
        "alice",
        "",
        "a" * 300 + "@example.org",
        "alice@example.org,bob@example.org",
        "alice\x00@example.org",
        None,
        7,
        [ADDRESS],
        {"address": ADDRESS},
    ],
)
def test_an_address_that_is_not_in_the_canonical_form_is_put_aside(source: LyingPeer, address: Any) -> None:
    source.write("bind", source.sign(source.claim(address, ALICE)))
    [reason] = reasons(read(source))
    assert "address" in reason
    assert "alice" not in reason.lower()


@pytest.mark.parametrize("number", ["+447400123456", "447400123456 ", "0447400123456", "07400123456", "1", "4420FLOWERS"])
def test_a_phone_number_that_is_not_in_the_canonical_form_is_put_aside(source: LyingPeer, number: str) -> None:
    source.write("bind", source.sign(source.claim(number, ALICE, medium="msisdn")))
    [reason] = reasons(read(source))
    assert "address" in reason


def test_a_phone_number_in_the_canonical_form_is_taken(source: LyingPeer) -> None:
    source.write("bind", source.sign(source.claim("447400123456", ALICE, medium="msisdn")))
    assert len(read(source).said) == 1


@pytest.mark.parametrize("medium", ["", "Email", "fax", "matrix", None, 1, ["email"]])
def test_a_medium_that_is_not_known_is_put_aside(source: LyingPeer, medium: Any) -> None:
    source.write("bind", source.sign(source.claim(ADDRESS, ALICE, medium=medium)))
    [reason] = reasons(read(source))
    assert "address" in reason


@pytest.mark.parametrize(
    "mxid",
    ["alice", "@alice", "@alice:", "@:hs.test:", "@al ice:hs.test", "@alice:127.1", "@" + "a" * 300 + ":hs", None, 5, {}],
)
def test_what_is_no_user_id_is_put_aside(source: LyingPeer, mxid: Any) -> None:
    for kind in ("bind", "unbind"):
        source.write(kind, source.sign(source.claim(ADDRESS, mxid)))
    assert {each.partition(" ID")[0] for each in reasons(read(source))} == {"it has no valid Matrix user"}


@pytest.mark.parametrize("name", ["ts", "not_before", "not_after"])
@pytest.mark.parametrize("value", ["1800000000000", 1.8e12, -1, True, None, [], {}])
def test_a_time_that_is_no_whole_number_is_put_aside(source: LyingPeer, name: str, value: Any) -> None:
    source.write("bind", source.sign(source.claim(ADDRESS, ALICE, **{name: value})))
    assert reasons(read(source)) == [f"it has no {name}"]


FUTURES: dict[str, Callable[[int], dict[str, Any]]] = {
    "made": lambda ahead_ms: {"ts": NOW_MS + ahead_ms},
    "begins": lambda ahead_ms: {"not_before": NOW_MS + ahead_ms},
}


@pytest.mark.parametrize("future", FUTURES)
def test_what_is_from_the_near_future_is_waited_for(source: LyingPeer, future: str) -> None:
    source.bind(ADDRESS, ALICE, **FUTURES[future](AHEAD_MS + 1))
    with pytest.raises(RequestFailed, match="entry 0 is from the future"):
        read(source)
    source.bind("bob@example.org", ALICE)
    page = read_page(source, configured(), 0, 2, Moment(NOW_MS + 1, None))
    assert (len(page.said), page.bad) == (2, [])


@pytest.mark.parametrize("future", FUTURES)
def test_what_is_from_the_far_future_is_put_aside(source: LyingPeer, future: str) -> None:
    source.bind(ADDRESS, ALICE, **FUTURES[future](NEAR_MS + 1))
    source.write("bind", source.sign(source.claim(ADDRESS, ALICE)), ts=NOW_MS + NEAR_MS + 1)
    assert reasons(read(source)) == ["it is from the future"] * 2


def test_clocks_may_be_apart_by_a_few_minutes(source: LyingPeer) -> None:
    ahead_ms = NOW_MS + AHEAD_MS
    source.write("bind", source.sign(source.claim(ADDRESS, ALICE, ts=ahead_ms, not_before=ahead_ms)), ts=ahead_ms)
    assert read(source).bad == []


SIGNATURES: dict[str, tuple[Any, str]] = {
    "none": (None, "no signature"),
    "no object": ([], "no signature"),
    "of nobody": ({}, "no signature"),
    "of another origin": ({"other.test": {"ed25519:0": "c2ln"}}, "no signature"),
    "of the origin, no object": ({NAME: "ed25519:0"}, "no signature"),
    "of no key": ({NAME: {}}, "not pinned"),
    "of a key that is not pinned": ({NAME: {"ed25519:7": "c2ln"}}, "not pinned"),
    "no base64": ({NAME: {"ed25519:0": "!"}}, "not valid"),
    "too short": ({NAME: {"ed25519:0": "c2ln"}}, "not valid"),
    "of something else": ({NAME: {"ed25519:0": "c2ln" * 21 + "c2"}}, "not valid"),
    "a number": ({NAME: {"ed25519:0": 7}}, "not valid"),
    "nothing": ({NAME: {"ed25519:0": None}}, "not valid"),
}


@pytest.mark.parametrize("signatures", SIGNATURES)
def test_a_payload_whose_signature_is_not_the_peers_is_put_aside(source: LyingPeer, signatures: str) -> None:
    value, said = SIGNATURES[signatures]
    source.write("bind", {**source.claim(ADDRESS, ALICE), "signatures": value})
    source.write("erase", {"erased": [encode_base64(bytes(32))], "ts": NOW_MS, "signatures": value})
    assert all(said in reason for reason in reasons(read(source)))


def test_another_servers_payload_in_a_peers_log_is_put_aside(source: LyingPeer) -> None:
    stolen = source.sign(source.claim(ADDRESS, ALICE), name="other.test", seed=seed("other.test", "signing"))
    source.write("bind", stolen)
    source.write("bind", source.sign(source.claim(ADDRESS, ALICE), seed=seed("other.test", "signing")))
    assert reasons(read(source)) == ["it has no signature of the peer", "its signature is not valid"]


def test_a_payload_without_signatures_is_put_aside(source: LyingPeer) -> None:
    source.write("bind", source.claim(ADDRESS, ALICE))
    assert reasons(read(source)) == ["it has no signature of the peer"]


def test_what_an_older_key_of_the_peer_has_signed_is_taken(source: LyingPeer) -> None:
    source.write("bind", source.sign(source.claim(ADDRESS, ALICE), key_id="ed25519:old", seed=seed(NAME, "old")))
    peer = configured(old_verify_keys=[verify_key(NAME, "old", "ed25519:old")])
    assert len(read(source, peer).said) == 1
    assert reasons(read(source)) == ["it is signed with a key that is not pinned"]


SCOPES: dict[str, tuple[dict[str, Any], str]] = {
    "homeserver": ({"homeservers": ["other.test"]}, "users of that homeserver"),
    "domain": ({"domains": ["example.com"]}, "addresses of that domain"),
    "part of a domain": ({"domains": ["le.org"]}, "addresses of that domain"),
    "domain above": ({"domains": ["org"]}, "addresses of that domain"),
    "medium": ({"media": ["msisdn"]}, "may not speak for email"),
    "kind": ({"kinds": ["unbind", "erase"]}, "entries of the kind bind"),
}


@pytest.mark.parametrize("scope", SCOPES)
def test_an_entry_outside_the_peers_scope_is_put_aside(source: LyingPeer, scope: str) -> None:
    limits, said = SCOPES[scope]
    source.bind(ADDRESS, ALICE)
    page = read(source, configured(scope=limits))
    assert [said in bad.reason for bad in page.bad] == [True]
    # The peer has taken the address from whoever had it, if it may bind at all.
    assert page.said == ([] if "kinds" in limits else [Retraction(ThreePid("email", ADDRESS))])


def test_what_takes_back_is_heard_whatever_the_scope(source: LyingPeer) -> None:
    source.unbind(ADDRESS, ALICE)
    page = read(source, configured(scope={"homeservers": ["other.test"], "media": ["msisdn"]}))
    assert (page.said, page.bad) == ([Retraction(ThreePid("email", ADDRESS))], [])


def test_a_peer_that_speaks_for_a_domain_speaks_for_no_phone_number(source: LyingPeer) -> None:
    source.write("bind", source.sign(source.claim("447400123456", ALICE, medium="msisdn")))
    page = read(source, configured(scope={"domains": ["example.org"]}))
    assert (len(page.bad), page.said) == (1, [Retraction(ThreePid("msisdn", "447400123456"))])


@pytest.mark.parametrize("kind", ["unbind", "erase"])
def test_a_peer_that_may_not_take_back_or_erase_does_not(source: LyingPeer, kind: str) -> None:
    payload = source.claim(ADDRESS, ALICE) if kind == "unbind" else {"erased": [encode_base64(bytes(32))], "ts": NOW_MS}
    source.write(kind, source.sign(payload))
    [reason] = reasons(read(source, configured(scope={"kinds": ["bind"]})))
    assert f"kind {kind}" in reason


def test_an_entry_of_a_kind_that_is_not_known_is_put_aside(source: LyingPeer) -> None:
    source.write("revoke", source.sign(source.claim(ADDRESS, ALICE)))
    assert reasons(read(source)) == ["the peer may not send entries of the kind revoke"]


@pytest.mark.parametrize(
    "erased",
    [
        None,
        [],
        "all",
        [7],
        ["!"],
        ["c2hvcnQ"],
        [encode_base64(bytes(33))],
        [encode_base64(bytes(32))] * (MAX_ERASED + 1),
        {},
    ],
)
def test_an_erasure_that_names_no_entries_is_put_aside(source: LyingPeer, erased: Any) -> None:
    source.write("erase", source.sign({"erased": erased, "ts": NOW_MS}))
    assert reasons(read(source)) == ["it does not say what is erased"]


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"nonsense",
        b"{}",
        b"[]",
        b"[" * 5000,
        b'{"commitment":"c2hvcnQ","kind":"bind","ts":1,"v":1}',
        b'{"commitment":"%s","kind":"bind","ts":1,"v":2}' % encode_base64(bytes(32)).encode(),
        b'{"commitment":"%s","kind":"bind","ts":1.0,"v":1}' % encode_base64(bytes(32)).encode(),
        b'{"commitment":"%s","kind":"bind","ts":-1,"v":1}' % encode_base64(bytes(32)).encode(),
        b'{"commitment":"%s","kind":["bind"],"ts":1,"v":1}' % encode_base64(bytes(32)).encode(),
        b'{"commitment":"%s","kind":"bind","ts":99999999999999999999,"v":1}' % encode_base64(bytes(32)).encode(),
        b'{ "commitment":"%s","kind":"bind","ts":1,"v":1}' % encode_base64(bytes(32)).encode(),
        b"\xff" * 60_000,
    ],
)
@pytest.mark.parametrize("given", [None, {"nonce": "", "payload": {}}])
def test_what_is_no_entry_of_a_log_is_put_aside_with_the_tree_whole(source: LyingPeer, entry: bytes, given: Any) -> None:
    source.put(entry, given)
    source.bind(ADDRESS, ALICE)
    page = read(source)
    assert [bad.index for bad in page.bad] == [0]
    assert len(page.said) == 1
    assert len(page.leaves) == 2


@pytest.mark.parametrize(
    "given",
    [
        7,
        "payload",
        [],
        {},
        {"nonce": None, "payload": {}},
        {"nonce": 7, "payload": {}},
        {"nonce": "!", "payload": {}},
        {"nonce": "", "payload": None},
        {"nonce": "", "payload": []},
        {"nonce": "", "payload": {"ts": 1.5}},
        {"payload": {}},
        {"nonce": ""},
        False,
    ],
)
def test_what_the_entry_does_not_commit_to_is_a_contradiction(source: LyingPeer, given: Any) -> None:
    source.bind(ADDRESS, ALICE)
    source.given[0] = given
    with pytest.raises(Contradiction, match="entry 0"):
        read(source)


def test_a_payload_that_nobody_has_and_nobody_has_erased_is_put_aside(source: LyingPeer) -> None:
    source.bind(ADDRESS, ALICE)
    source.given[0] = None
    [reason] = reasons(read(source))
    assert "has no payload" in reason


@pytest.mark.parametrize(("count", "said"), [(0, "0 payloads of 2"), (1, "1 payloads of 2"), (3, "3 payloads of 2")])
def test_more_or_fewer_payloads_than_entries_are_no_answer(source: LyingPeer, count: int, said: str) -> None:
    source.bind(ADDRESS, ALICE)
    source.bind("bob@example.org", ALICE)
    source.lies["payloads"] = lambda given: (given * 2)[:count]
    with pytest.raises(RequestFailed, match=said):
        read(source)


@pytest.mark.parametrize("lie", [lambda _: b"", lambda bundle: bundle[:-1], lambda bundle: bundle[:1], lambda _: b"\x00"])
def test_a_bundle_that_is_too_short_is_no_answer(source: LyingPeer, lie: Callable[[bytes], bytes]) -> None:
    source.bind(ADDRESS, ALICE)
    source.lies[BUNDLE] = lie
    with pytest.raises(RequestFailed):
        read(source)


def test_what_is_in_a_bundle_beyond_the_tree_is_not_read(source: LyingPeer) -> None:
    source.bind(ADDRESS, ALICE)
    source.lies[BUNDLE] = lambda bundle: bundle * 300
    page = read(source)
    assert (len(page.said), page.bad, len(page.leaves)) == (1, [], 1)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(["medium", "address", "mxid", "ts", "not_before", "not_after", "erased", "signatures", "unsigned"])


@given(st.sampled_from(["bind", "unbind", "erase"]), st.dictionaries(FIELDS, JSON, max_size=3), st.booleans())
@settings(max_examples=300, deadline=None)
def test_whatever_a_payload_holds_it_is_taken_or_put_aside(kind: str, different: dict[str, Any], sign: bool) -> None:  # noqa: FBT001 - hypothesis calls it
    source = LyingPeer(NAME, seed(NAME, "signing"), log_key(NAME), FakeClock())
    payload = {**source.claim(ADDRESS, ALICE), "erased": [encode_base64(bytes(32))], **different}
    unsigned = {key: value for key, value in payload.items() if key not in {"signatures", "unsigned"}}
    source.write(kind, {**payload, "signatures": source.sign(unsigned)["signatures"]} if sign else payload)
    page = read(source)
    assert len(page.said) + len(page.bad) in {1, 2}
