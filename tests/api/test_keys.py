"""Publishing keys, and reading them, over HTTP."""

import json
from typing import Any

import pytest
from nacl.signing import SigningKey
from sqlalchemy import text

from sydent_py.directory.peppers import lookup_hash
from sydent_py.keys.chain import RESET_WAIT_MS
from sydent_py.tlog.proof import Proof
from tests.conftest import Launch
from tests.driver import OWN, Driver, refusal
from tests.fakes.key_owner import master_key, public
from tests.key_owner import ALICE, Person, master_in, path

OLD, NEW, THIRD = master_key("old"), master_key("new"), master_key("third")


@pytest.fixture
def alice(api: Driver) -> Person:
    return Person(api)


def test_a_published_key_is_shown_with_its_proof(alice: Person) -> None:
    receipt = alice.done("publish", OLD)["receipt"]
    shown = alice.seen()
    assert (shown["log"], master_in(shown["current"]), "pending" in shown) == ("id.test/log", public(OLD), False)
    assert shown["current"]["nonce"] == receipt["nonce"]
    proof = Proof.parse(shown["current"]["proof"].encode())
    assert proof.extra is not None
    assert json.loads(proof.extra)["commitment"] == receipt["commitment"]
    assert json.loads(proof.extra)["kind"] == "key"
    assert proof.proves(proof.extra, alice.api.services.published_log.verifier_key)


def test_a_statement_that_waits_for_its_place_has_no_proof_yet(alice: Person) -> None:
    assert alice.send("publish", OLD).status_code == 200
    assert alice.seen()["current"]["proof"] is None


def test_unknown_and_unpublished_users_look_alike(alice: Person) -> None:
    answers = [alice.api.request("GET", path(user)) for user in (ALICE, "@nobody:hs.test", "no user at all", "@a:b/c")]
    assert {refusal(each) for each in answers} == {(404, "M_NOT_FOUND")}
    assert len({each.text for each in answers}) == 1
    assert refusal(alice.api.request("GET", path(ALICE, "/history"))) == (404, "M_NOT_FOUND")


def test_the_next_place_comes_with_the_challenge(alice: Person) -> None:
    alice.done("publish", OLD)
    told = alice.api.request("POST", f"{OWN}/keys/challenge", alice.token, json={}).get_json()
    assert (told["log"], told["seq"]) == ("id.test/log", 2)
    assert alice.owner.state("rotate", NEW, OLD, NEW, ts=alice.api.clock.now_ms())["prev"] == told["prev"]


def test_a_key_is_rotated_with_both_keys(alice: Person) -> None:
    alice.done("publish", OLD)
    alice.done("rotate", NEW, OLD, NEW)
    assert alice.current() == public(NEW)
    [origin] = alice.api.request("GET", path(ALICE, "/history")).get_json()["origins"].values()
    assert [master_in(entry) for entry in origin["entries"]] == [public(OLD), public(NEW)]
    assert all(entry["proof"] for entry in origin["entries"])


@pytest.mark.parametrize("signers", [(OLD,), (NEW,), (NEW, THIRD)], ids=["old", "new", "another"])
def test_nobody_rotates_without_both_keys(alice: Person, signers: tuple[SigningKey, ...]) -> None:
    alice.done("publish", OLD)
    assert refusal(alice.send("rotate", NEW, *signers)) == (403, "M_FORBIDDEN")
    assert alice.current() == public(OLD)


def test_the_old_key_is_worth_nothing_after_a_rotation(alice: Person) -> None:
    alice.done("publish", OLD)
    alice.done("rotate", NEW, OLD, NEW)
    assert refusal(alice.send("rotate", THIRD, OLD, THIRD)) == (403, "M_FORBIDDEN")


def test_a_reset_waits_72_hours_and_tells_every_address(api: Driver) -> None:
    token, _ = api.bound("alice@example.org", ALICE)
    alice = Person(api, token=token)
    alice.done("publish", OLD)
    answer = alice.done("reset", NEW)
    assert answer["counts_from_ms"] == api.clock.now_ms() + RESET_WAIT_MS
    assert (alice.current(), master_in(alice.seen()["pending"])) == (public(OLD), public(NEW))
    api.deliver()
    mail = api.mailbox.newest
    assert mail.to.address == "alice@example.org"
    assert "about to be replaced" in mail.subject
    assert ALICE in mail.text
    api.clock.advance(RESET_WAIT_MS / 1000 - 1)
    assert alice.current() == public(OLD)
    api.clock.advance(1)
    assert (alice.current(), "pending" in alice.seen()) == (public(NEW), False)


def test_a_reset_is_told_by_text_message(launch: Launch) -> None:
    api = launch(sms={"allowed_countries": ["GB"]})
    token = api.register(ALICE)
    sid = api.validate_phone(token)
    assert api.bind(token, sid, ALICE).status_code == 200
    alice = Person(api, token=token)
    alice.done("publish", OLD)
    alice.done("reset", NEW)
    api.deliver()
    assert ALICE in api.handset.newest.body


def test_a_reset_of_a_user_without_addresses_waits_all_the_same(alice: Person) -> None:
    alice.done("publish", OLD)
    alice.done("reset", NEW)
    alice.api.deliver()
    assert (alice.current(), alice.api.mailbox.mails) == (public(OLD), [])


def test_the_old_key_cancels_a_reset_without_an_access_token(alice: Person) -> None:
    alice.done("publish", OLD)
    alice.done("reset", NEW)
    assert refusal(alice.send("cancel", OLD, NEW)) == (403, "M_FORBIDDEN")
    alice.done("cancel", OLD)
    alice.api.clock.advance(RESET_WAIT_MS / 1000 + 1)
    assert (alice.current(), "pending" in alice.seen()) == (public(OLD), False)
    assert refusal(alice.send("cancel", OLD)) == (400, "M_INVALID_PARAM")


def test_of_two_resets_that_race_one_has_the_place(alice: Person) -> None:
    alice.done("publish", OLD)
    now_ms = alice.api.clock.now_ms()
    first, second = (
        alice.owner.state("reset", key, ts=now_ms, nonce=nonce)
        for key, nonce in ((NEW, alice.challenge()), (THIRD, alice.challenge()))
    )
    assert alice.deliver(first).status_code == 200
    assert refusal(alice.deliver(second)) == (409, "M_CONFLICT")
    assert master_in(alice.seen()["pending"]) == public(NEW)


def test_a_revoked_key_is_gone_for_good(alice: Person) -> None:
    alice.done("publish", OLD)
    alice.done("rotate", NEW, OLD, NEW)
    assert refusal(alice.send("revoke", NEW, OLD)) == (403, "M_FORBIDDEN")
    assert alice.done("revoke", NEW) == {}
    assert refusal(alice.api.request("GET", path(ALICE))) == (404, "M_NOT_FOUND")
    with alice.api.services.database.begin() as db:
        kinds = [row.kind for row in db.execute(text("SELECT kind FROM log_entries ORDER BY entry_index"))]
        payloads = [row.payload for row in db.execute(text("SELECT payload FROM log_entries ORDER BY entry_index"))]
        assert db.execute(text("SELECT count(*) FROM key_statements")).scalar() == 0
    assert kinds == ["key", "key", "key_revoke", "erase"]
    assert payloads[:3] == [None] * 3
    alice.owner.made.clear()
    alice.done("publish", THIRD)
    assert alice.current() == public(THIRD)


def test_revoking_keys_leaves_bindings_alone(api: Driver) -> None:
    token, _ = api.bound("alice@example.org", ALICE)
    alice = Person(api, token=token)
    alice.done("publish", OLD)
    alice.done("revoke", OLD)
    assert len(api.request("GET", f"{OWN}/bindings/mine", token).get_json()["bindings"]) == 1
    with api.services.database.begin() as db:
        payloads = dict(db.execute(text("SELECT kind, payload FROM log_entries")).all())
    assert payloads["bind"] is not None


def test_who_erases_the_account_without_the_key_publishes_72_hours_later(alice: Person) -> None:
    alice.done("publish", OLD)
    erased = alice.api.request("POST", f"{OWN}/account/erase", alice.token, json={}).get_json()["erased"]
    assert erased["keys"] == 1
    assert refusal(alice.api.request("GET", path(ALICE))) == (404, "M_NOT_FOUND")
    again = Person(alice.api)
    assert refusal(again.send("publish", NEW)) == (400, "M_INVALID_PARAM")
    alice.api.clock.advance(RESET_WAIT_MS / 1000)
    alice.api.services.forget_expired()
    Person(alice.api).done("publish", NEW)
    assert alice.current() == public(NEW)


def test_whose_keys_are_erased_is_told_at_every_address(api: Driver) -> None:
    token, _ = api.bound("alice@example.org", ALICE)
    Person(api, token=token).done("publish", OLD)
    api.request("POST", f"{OWN}/account/erase", token, json={})
    api.deliver()
    mail = api.mailbox.newest
    assert (mail.to.address, mail.subject) == ("alice@example.org", "Your published keys at id.test were erased")
    assert ALICE in mail.text
    with api.services.database.begin() as db:
        assert db.execute(text("SELECT count(*) FROM outbox")).scalar() == 0


def test_a_stolen_token_without_the_key_publishes_nothing(alice: Person) -> None:
    alice.done("publish", OLD)
    assert refusal(alice.send("rotate", NEW)) == (403, "M_FORBIDDEN")
    assert refusal(alice.send("publish", NEW)) == (400, "M_INVALID_PARAM")
    assert refusal(alice.send("revoke", NEW)) == (400, "M_INVALID_PARAM")
    assert alice.current() == public(OLD)


def test_a_challenge_is_good_once_for_ten_minutes_and_for_one_account(alice: Person) -> None:
    assert refusal(alice.send("publish", OLD, nonce="made_up")) == (403, "M_FORBIDDEN")
    assert refusal(alice.send("publish", OLD, nonce="")) == (403, "M_FORBIDDEN")
    mallory = Person(alice.api, "@mallory:hs.test")
    assert refusal(alice.send("publish", OLD, nonce=mallory.challenge())) == (403, "M_FORBIDDEN")
    late = alice.challenge()
    alice.api.clock.advance(600)
    assert refusal(alice.send("publish", OLD, nonce=late)) == (403, "M_FORBIDDEN")
    challenge = alice.challenge()
    alice.done("publish", OLD, nonce=challenge)
    assert refusal(alice.send("rotate", NEW, OLD, NEW, nonce=challenge)) == (403, "M_FORBIDDEN")


def test_an_account_publishes_for_itself_alone(alice: Person) -> None:
    mallory = Person(alice.api, "@mallory:hs.test")
    statement = alice.owner.state("publish", OLD, ts=alice.api.clock.now_ms(), nonce=mallory.challenge())
    assert refusal(alice.deliver(statement, mallory.token)) == (403, "M_FORBIDDEN")
    answer = alice.api.request("PUT", path(mallory.user_id), mallory.token, json=statement)
    assert refusal(answer) == (400, "M_INVALID_PARAM")
    assert refusal(alice.api.request("PUT", path(ALICE), json=statement)) == (401, "M_UNAUTHORIZED")


@pytest.mark.parametrize(
    "changes",
    [
        {"log": "other.test/log"},
        {"seq": 2, "prev": "A" * 43},
        {"prev": "A" * 43},
        {"ts": 0},
        {"ts": 1.5},
        {"type": "sydent_py.keys.v2"},
        {"op": "steal"},
        {"op": "cancel"},
        {"keys": {}},
        {"keys": {"master": {"user_id": ALICE, "usage": ["master"], "keys": {"rsa:x": "x"}}}},
        {"more": 1},
        {"signatures": {}},
        {"nonce": "x" * 5000},
    ],
    ids=lambda changes: "+".join(changes) + str(len(str(changes))),
)
def test_what_is_no_statement_of_this_chain_is_refused(alice: Person, changes: dict[str, Any]) -> None:
    statement = alice.owner.state("publish", OLD, ts=alice.api.clock.now_ms(), nonce=alice.challenge())
    answer = alice.api.request("PUT", path(ALICE), alice.token, json={**statement, **changes})
    assert refusal(answer) == (400, "M_INVALID_PARAM")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_many_users_are_asked_for_at_once(alice: Person) -> None:
    alice.done("publish", OLD)
    users = [ALICE, "@nobody:hs.test", ALICE, "", "\u00e4"]
    answer = alice.api.request("POST", f"{OWN}/keys/query", json={"users": users})
    assert list(answer.get_json()["users"]) == [ALICE]
    too_many = alice.api.request("POST", f"{OWN}/keys/query", json={"users": [f"@u{n}:hs.test" for n in range(101)]})
    assert refusal(too_many) == (413, "M_TOO_LARGE")


def test_a_lookup_by_address_gives_user_and_key(api: Driver) -> None:
    token, _ = api.bound("alice@example.org", ALICE)
    api.bound("bob@example.org", "@bob:hs.test")
    Person(api, token=token).done("publish", OLD)
    pepper = api.pepper(token)
    hashes = [
        lookup_hash(f"{address} email", pepper) for address in ("alice@example.org", "bob@example.org", "nobody@example.org")
    ]
    body = {"algorithm": "sha256", "pepper": pepper, "addresses": hashes}
    mappings = api.request("POST", f"{OWN}/keys/lookup", token, json=body).get_json()["mappings"]
    assert mappings[hashes[0]]["mxid"] == ALICE
    assert master_in(mappings[hashes[0]]["keys"]["origins"]["id.test"]["current"]) == public(OLD)
    assert mappings[hashes[1]] == {"mxid": "@bob:hs.test", "keys": None}
    assert hashes[2] not in mappings


def test_a_lookup_of_keys_costs_the_budget_of_lookups(launch: Launch) -> None:
    api = launch(limits={"lookup_hashes_per_account": 3})
    token = api.register()
    body = {"algorithm": "sha256", "pepper": api.pepper(token), "addresses": ["a", "b"]}
    assert api.request("POST", f"{OWN}/keys/lookup", token, json=body).status_code == 200
    assert refusal(api.request("POST", f"{OWN}/keys/lookup", token, json=body)) == (429, "M_LIMIT_EXCEEDED")


def test_reading_and_stating_have_budgets(launch: Launch) -> None:
    api = launch(limits={"keys_per_network": "2/hour", "key_statements_per_account": "1/hour"})
    alice = Person(api)
    alice.challenge()
    answer = api.request("POST", f"{OWN}/keys/challenge", alice.token, json={})
    assert refusal(answer) == (429, "M_LIMIT_EXCEEDED")
    answers = [api.request("GET", path(ALICE)) for _ in range(3)]
    assert [each.status_code for each in answers] == [404, 404, 429]
