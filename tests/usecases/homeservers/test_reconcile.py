"""What a homeserver is told of the bindings it has made, to compare with what it knows."""

import hashlib
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sydent_py.homeservers import reconcile
from tests.conftest import Launch
from tests.driver import OWN, Driver, refusal
from tests.fakes.companion import Companion, item
from tests.usecases.homeservers.conftest import TRUSTED

ALICE, BOB = "@alice:hs.test", "@bob:hs.test"
Standing = dict[str, str]


def digest_of(standing: Standing) -> dict[str, Any]:
    """The digest of the contract, written down once more."""
    buckets: dict[str, dict[str, Any]] = {}
    for address, mxid in standing.items():
        digest = hashlib.sha256(f"email {address} {mxid}".encode()).hexdigest()
        bucket = buckets.setdefault(digest[:2], {"count": 0, "digest": "0" * 64})
        bucket["count"] += 1
        bucket["digest"] = f"{int(bucket['digest'], 16) ^ int(digest, 16):064x}"
    return {"count": len(standing), "buckets": buckets}


def test_nothing_bound_is_an_empty_digest(companion: Companion) -> None:
    assert companion.answer("digest") == {"count": 0, "buckets": {}}
    assert companion.answer("bindings/list", buckets=["00"]) == {"bindings": [], "next": ""}


def test_a_homeserver_sees_what_it_has_made_and_nothing_else(api: Driver, companion: Companion) -> None:
    other = Companion(api, "other.test")
    api.bound("proved@example.org", BOB)
    companion.bind("mine@example.org")
    other.bind("theirs@example.org", "@a:other.test")
    assert companion.answer("digest") == digest_of({"mine@example.org": ALICE})
    assert companion.listed() == [("mine@example.org", ALICE)]
    assert other.listed() == [("theirs@example.org", "@a:other.test")]


def test_a_binding_that_stood_already_is_the_homeservers_from_then_on(api: Driver, companion: Companion) -> None:
    """Otherwise it would find the same difference each time, and never an end of it."""
    token, _ = api.bound("alice@example.org", ALICE)
    assert companion.bind("alice@example.org") == "unchanged"
    assert companion.listed() == [("alice@example.org", ALICE)]
    api.bind(token, api.validate(token, client_secret="again"), secret="again")
    assert companion.listed() == [("alice@example.org", ALICE)]


@pytest.mark.parametrize("way", ["user", "homeserver", "other user", "other homeserver", "erasure"])
def test_what_ended_in_another_way_stands_no_more(api: Driver, companion: Companion, way: str) -> None:
    companion.bind("alice@example.org")
    if way == "user":
        api.request("DELETE", f"{OWN}/bindings/email/alice@example.org", api.register(ALICE))
    elif way == "homeserver":
        api.signed_unbind()
    elif way == "other user":
        api.bound("alice@example.org", BOB)
    elif way == "other homeserver":
        Companion(api, "other.test").bind("alice@example.org", "@a:other.test")
    else:
        api.request("POST", f"{OWN}/account/erase", api.register(ALICE))
    assert companion.answer("digest") == {"count": 0, "buckets": {}}
    assert companion.listed() == []


def test_long_lists_come_in_pages_and_only_of_the_buckets_that_were_asked_for(
    api: Driver, companion: Companion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MAX_PAGE", 7)
    monkeypatch.setattr(reconcile, "READ_AT_ONCE", 3)
    standing = {f"p{number}@example.org": ALICE for number in range(50)}
    ts = api.clock.now_ms()
    assert set(companion.change(*(item("bind", address, ts=ts) for address in standing))) == {"done"}
    assert companion.answer("digest") == digest_of(standing)
    assert companion.listed() == sorted(standing.items())
    assert len(companion.answer("bindings/list", buckets=[f"{n:02x}" for n in range(256)])["bindings"]) == 7
    buckets = list(digest_of(standing)["buckets"])
    some = {a: u for a, u in standing.items() if hashlib.sha256(f"email {a} {u}".encode()).hexdigest()[:2] in buckets[:20]}
    assert companion.listed(*buckets[:20]) == sorted(some.items())


@pytest.mark.parametrize(
    "body",
    [
        {"buckets": ["0"]},
        {"buckets": ["FF"]},
        {"buckets": ["00\n"]},
        {"buckets": [0]},
        {"buckets": "00"},
        {"buckets": ["00"] * 257},
        {"buckets": ["00"], "after": "zz"},
        {"buckets": ["00"], "after": "0" * 256},
        {"buckets": ["00"], "after": 5},
    ],
)
def test_what_names_no_page_is_refused(companion: Companion, body: dict[str, Any]) -> None:
    assert refusal(companion.ask("bindings/list", body)) == (400, "M_INVALID_PARAM")
    assert companion.answer("bindings/list", buckets=[], after="ff" * 100)["bindings"] == []


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["bind", "bind", "unbind", "remove", "prove", "other"]),
        st.sampled_from([ALICE, BOB]),
        st.sampled_from(["one", "two"]),
    ),
    max_size=8,
)


def tell(api: Driver, companion: Companion, events: list[tuple[str, str, str]]) -> Standing:
    """Have it happen: what stands at the homeserver's word then."""
    other, bound = Companion(api, "other.test"), dict[str, tuple[str, bool]]()
    for action, user, address in events:
        api.clock.advance(3600)
        owner, is_made = bound.get(address, ("", False))
        if action == "bind":
            companion.bind(address, user)
            bound[address] = user, True
        elif action == "prove":
            secret, token = f"s{api.clock.now_ms()}", api.register(user)
            sid = api.validate(token, address, client_secret=secret)
            assert api.bind(token, sid, user, secret=secret).status_code == 200
            bound[address] = user, is_made and owner == user
        elif action == "other":
            other.bind(address, "@a:other.test")
            bound.pop(address, None)
        else:
            if action == "unbind":
                companion.unbind(address, user)
            else:
                api.request("DELETE", f"{OWN}/bindings/email/{address}", api.register(user))
            if owner == user:
                del bound[address]
    return {address: user for address, (user, is_made) in bound.items() if is_made}


def test_after_any_story_the_digest_and_the_list_are_of_what_stands(launch: Launch) -> None:
    api = launch(trusted_homeservers=TRUSTED, limits={"enabled": False})
    companion, stories = Companion(api), itertools.count()

    @given(EVENTS)
    @settings(max_examples=25, deadline=None)
    def check(events: list[tuple[str, str, str]]) -> None:
        story = next(stories)
        for address, mxid in companion.listed():
            companion.unbind(address, mxid)
        standing = tell(
            api, companion, [(action, user, f"{address}{story}@example.org") for action, user, address in events]
        )
        assert companion.answer("digest") == digest_of(standing)
        assert companion.listed() == sorted(standing.items())

    check()
