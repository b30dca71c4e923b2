"""Published keys at peers: kept by origin, shown by origin, and never believed beyond their chain."""

import json
from typing import Any

import pytest
from canonicaljson import encode_canonical_json
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from sydent_py.keys.chain import RESET_WAIT_MS
from sydent_py.tlog.cosignature import cosigned_at
from sydent_py.tlog.proof import Proof
from tests.driver import OWN, Driver
from tests.fakes.key_owner import KeyOwner, digest, master_key, public
from tests.key_owner import ALICE, Person, master_in, path
from tests.usecases.replication.conftest import EVIL, Federate, Hostile, Run, Server, log_key, peer_section, verify_key

OLD, NEW, THIRD = master_key("old"), master_key("new"), master_key("third")
DAY_S = 86_400


def answer(server: Server, user_id: str = ALICE) -> dict[str, Any]:
    """What a server says of a user, by origin."""
    found = server.driver.request("GET", path(user_id))
    return dict(found.get_json()["origins"]) if found.status_code == 200 else {}


def masters(server: Server, user_id: str = ALICE) -> dict[str, str]:
    return {origin: master_in(said["current"]) for origin, said in answer(server, user_id).items()}


def mails(driver: Driver) -> list[str]:
    driver.deliver()
    return [mail.subject for mail in driver.mailbox.mails if "keys" in mail.subject]


def test_a_published_key_is_shown_by_peers_with_proof_and_cosignature(federate: Federate) -> None:
    federation = federate("a", "b")
    Person(federation["a"].driver).done("publish", OLD)
    federation.settle()
    assert masters(federation["b"]) == {"a.test": public(OLD)}
    entry = answer(federation["b"])["a.test"]["current"]
    assert entry == {**answer(federation["a"])["a.test"]["current"], "proof": entry["proof"]}
    proof = Proof.parse(entry["proof"].encode())
    assert proof.extra is not None
    assert proof.proves(proof.extra, log_key("a.test").verifier_key)
    witness = federation["a"].driver.services.peering.peers["b.test"].witness_key
    assert cosigned_at(proof.checkpoint, witness) is not None


def test_the_whole_chain_follows_and_a_revocation_ends_it_everywhere(federate: Federate) -> None:
    federation = federate("a", "b")
    alice = Person(federation["a"].driver)
    alice.done("publish", OLD)
    alice.done("rotate", NEW, OLD, NEW)
    federation.settle()
    history = federation["b"].driver.request("GET", path(ALICE, "/history")).get_json()["origins"]["a.test"]
    assert [master_in(entry) for entry in history["entries"]] == [public(OLD), public(NEW)]
    assert all(entry["proof"] for entry in history["entries"])
    alice.done("revoke", NEW)
    federation.settle()
    assert masters(federation["b"]) == {}
    assert federation["b"].quarantine() == []


def test_a_peer_that_comes_later_learns_what_stands_and_nothing_that_was_erased(federate: Federate) -> None:
    federation = federate("a", "b")
    federation.network.cut.add(frozenset(("a.test", "b.test")))
    gone, stays = Person(federation["a"].driver, "@gone:hs.test"), Person(federation["a"].driver)
    gone.done("publish", OLD)
    stays.done("publish", OLD)
    gone.done("revoke", OLD)
    federation.settle(1)
    federation.network.cut.clear()
    federation.settle()
    assert (masters(federation["b"]), masters(federation["b"], "@gone:hs.test")) == ({"a.test": public(OLD)}, {})
    assert federation["b"].quarantine() == []


def test_an_erased_account_is_forgotten_everywhere(federate: Federate) -> None:
    federation = federate("a", "b")
    alice = Person(federation["a"].driver)
    alice.done("publish", OLD)
    federation.settle()
    federation["a"].driver.request("POST", f"{OWN}/account/erase", alice.token, json={})
    federation.settle()
    assert masters(federation["b"]) == {}


def test_origins_that_disagree_are_both_shown_and_the_user_is_told(federate: Federate) -> None:
    federation = federate("a", "b")
    token = federation["a"].bind("alice@example.org", ALICE)
    Person(federation["a"].driver, token=token).done("publish", OLD)
    federation.settle()
    Person(federation["b"].driver).done("publish", THIRD)
    federation.settle()
    expected = {"a.test": public(OLD), "b.test": public(THIRD)}
    assert (masters(federation["a"]), masters(federation["b"])) == (expected, expected)
    assert mails(federation["a"].driver) == ["Identity servers disagree about your published keys"]
    assert list(answer(federation["a"])) == ["a.test", "b.test"]


def test_the_operator_sees_whose_keys_differ(federate: Federate, run: Run) -> None:
    federation = federate("a", "b")
    Person(federation["a"].driver).done("publish", OLD)
    Person(federation["a"].driver, "@bob:hs.test").done("publish", OLD)
    Person(federation["b"].driver, "@bob:hs.test").done("publish", OLD)
    Person(federation["b"].driver).done("publish", THIRD)
    federation.settle()
    shown = run(federation["a"], "conflicts").stdout.splitlines()
    assert shown[0] == f"{ALICE}, whose keys differ"
    assert shown[1].startswith(f"  {public(OLD)}, says this server since ")
    assert shown[2].startswith(f"  {public(THIRD)}, says b.test since ")
    assert len(shown) == 3
    [found] = json.loads(run(federation["a"], "conflicts", "--json").stdout)["keys"]
    assert {each["origin"]: each["master"] for each in found["claims"]} == {"a.test": public(OLD), "b.test": public(THIRD)}
    figures = federation["a"].driver.request("GET", "/metrics").text
    assert "sydent_py_keys_differing_users 1.0" in figures


def test_origins_that_agree_trouble_nobody(federate: Federate) -> None:
    federation = federate("a", "b")
    token = federation["a"].bind("alice@example.org", ALICE)
    Person(federation["a"].driver, token=token).done("publish", OLD)
    federation.settle()
    Person(federation["b"].driver).done("publish", OLD)
    federation.settle()
    assert mails(federation["a"].driver) == []


def test_a_waiting_reset_is_shown_by_peers_and_counts_there_after_72_hours(federate: Federate) -> None:
    federation = federate("a", "b")
    alice = Person(federation["a"].driver)
    alice.done("publish", OLD)
    alice.done("reset", NEW)
    federation.settle()
    said = answer(federation["b"])["a.test"]
    assert (master_in(said["current"]), master_in(said["pending"])) == (public(OLD), public(NEW))
    federation.clock.advance(RESET_WAIT_MS / 1000)
    assert masters(federation["b"]) == {"a.test": public(NEW)}


def test_resync_brings_the_keys_back(federate: Federate) -> None:
    federation = federate("a", "b")
    Person(federation["a"].driver).done("publish", OLD)
    federation.settle()
    federation["b"].driver.services.peering.resync("a.test")
    assert masters(federation["b"]) == {}
    federation.settle()
    assert masters(federation["b"]) == {"a.test": public(OLD)}


def test_the_keys_of_an_origin_that_is_followed_no_more_are_not_shown(federate: Federate) -> None:
    federation = federate("a", "b")
    Person(federation["a"].driver).done("publish", OLD)
    federation.settle()
    federation.launch("b.test", peers=[])
    assert masters(federation["b"]) == {}
    federation["b"].driver.services.forget_expired()
    federation.launch("b.test", peers=[peer_section("a.test")])
    federation.settle()
    assert masters(federation["b"]) == {"a.test": public(OLD)}


# What a peer cannot do


def say(hostile: Hostile, op: str, statement: dict[str, Any], **different: Any) -> bytes:
    """Have the peer log a statement, whoever has made it."""
    kind = "key_revoke" if op == "revoke" else "key"
    ts = different.pop("ts", None)
    payload = hostile.evil.sign({"mxid": statement["user_id"], "statement": statement, **different})
    return hostile.evil.write(kind, payload, ts)


@pytest.fixture
def owner() -> KeyOwner:
    return KeyOwner(ALICE, f"{EVIL}/log")


def stated(hostile: Hostile, owner: KeyOwner, op: str, *keys: Any, ts: int | None = None, **changes: Any) -> None:
    """A statement of a user in the peer's log."""
    statement = owner.state(op, *keys, ts=hostile.federation.clock.now_ms(), **changes)
    owner.made.append(statement)
    say(hostile, op, statement, **({} if ts is None else {"ts": ts}))


def test_a_chain_that_is_broken_is_put_aside_from_there_on(hostile: Hostile, owner: KeyOwner) -> None:
    stated(hostile, owner, "publish", OLD)
    stated(hostile, owner, "rotate", THIRD, THIRD)  # without the old key
    stated(hostile, owner, "rotate", NEW, THIRD, NEW)
    hostile.look()
    assert masters(hostile.server) == {EVIL: public(OLD)}
    assert [(peer, index) for peer, index, _ in hostile.server.quarantine()] == [(EVIL, 1), (EVIL, 2)]
    hostile.works_for_others()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"log": "other.test/log"}, "in the log other.test/log"),
        ({"seq": 2, "prev": "A" * 43}, "does not continue the chain"),
        ({"ts": 1.5}, "holds no statement"),
        ({"keys": {}}, "holds no statement"),
    ],
    ids=["log", "seq", "float", "keys"],
)
def test_what_is_no_statement_of_the_chain_is_put_aside(
    hostile: Hostile, owner: KeyOwner, changes: dict[str, Any], reason: str
) -> None:
    if "ts" in changes:
        hostile.evil.write("key", hostile.evil.sign({"mxid": ALICE, "statement": {"type": "sydent_py.keys.v1"}}))
    else:
        stated(hostile, owner, "publish", OLD, **changes)
    hostile.look()
    [(_, _, said)] = hostile.server.quarantine()
    assert reason in said
    assert masters(hostile.server) == {}


def test_an_entry_is_of_the_user_and_of_the_kind_that_its_statement_says(hostile: Hostile, owner: KeyOwner) -> None:
    statement = owner.state("publish", OLD, ts=hostile.federation.clock.now_ms())
    say(hostile, "publish", statement, mxid="@bob:hs.test")
    say(hostile, "revoke", statement)
    hostile.look()
    assert len(hostile.server.quarantine()) == 2
    assert masters(hostile.server) == {}


def test_a_peer_speaks_for_the_users_in_its_scope_alone(hostile: Hostile, owner: KeyOwner) -> None:
    hostile.federation.launch("a.test", peers=[peer_section(EVIL, scope={"homeservers": ["other.test"]})])
    stated(hostile, owner, "publish", OLD)
    hostile.look()
    hostile.look()
    assert masters(hostile.server) == {}
    [(_, _, reason)] = hostile.server.quarantine()
    assert "may not speak for users of that homeserver" in reason


def test_a_reset_cannot_be_dated_back(hostile: Hostile, owner: KeyOwner) -> None:
    stated(hostile, owner, "publish", OLD)
    hostile.look()
    hostile.look(5 * DAY_S)
    stated(hostile, owner, "reset", THIRD, ts=hostile.federation.clock.now_ms() - RESET_WAIT_MS - 1)
    hostile.look()
    assert masters(hostile.server) == {EVIL: public(OLD)}
    [(_, _, reason)] = hostile.server.quarantine()
    assert "dated back" in reason


def test_an_old_reset_is_taken_over_by_who_comes_later(hostile: Hostile, owner: KeyOwner) -> None:
    stated(hostile, owner, "publish", OLD)
    stated(hostile, owner, "reset", NEW)
    hostile.look(5 * DAY_S)
    assert masters(hostile.server) == {EVIL: public(NEW)}


def test_a_statement_from_the_future_is_waited_for(hostile: Hostile, owner: KeyOwner) -> None:
    in_an_hour_ms = hostile.federation.clock.now_ms() + 3_600_000
    say(hostile, "publish", owner.state("publish", OLD, ts=in_an_hour_ms), ts=in_an_hour_ms)
    hostile.look()
    assert masters(hostile.server) == {}
    hostile.look(3_600)
    assert masters(hostile.server) == {EVIL: public(OLD)}


def test_who_erases_without_the_key_cannot_begin_anew_at_once(hostile: Hostile, owner: KeyOwner) -> None:
    statement = owner.state("publish", OLD, ts=hostile.federation.clock.now_ms())
    commitment = say(hostile, "publish", statement)
    hostile.look()
    hostile.evil.erase(commitment)
    say(hostile, "publish", owner.state("publish", THIRD, ts=hostile.federation.clock.now_ms()))
    hostile.look()
    assert masters(hostile.server) == {}
    assert len(hostile.server.quarantine()) == 1
    hostile.federation.clock.advance(RESET_WAIT_MS / 1000)
    say(hostile, "publish", owner.state("publish", NEW, ts=hostile.federation.clock.now_ms()))
    hostile.look()
    assert masters(hostile.server) == {EVIL: public(NEW)}


def test_the_statement_and_the_commitment_are_the_users_and_the_logs(hostile: Hostile, owner: KeyOwner) -> None:
    """What is shown of a peer is what the user has signed, byte for byte."""
    stated(hostile, owner, "publish", OLD)
    hostile.look()
    shown = answer(hostile.server)[EVIL]["current"]["payload"]
    assert digest(shown["statement"]) == digest(owner.made[0])
    message = encode_canonical_json({name: value for name, value in shown.items() if name != "signatures"})
    VerifyKey(decode_base64(verify_key(EVIL).split()[1])).verify(
        message, decode_base64(shown["signatures"][EVIL]["ed25519:0"])
    )
