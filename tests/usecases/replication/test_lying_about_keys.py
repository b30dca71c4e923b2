"""Three servers, one of which lies about a user's key: whoever knows the servers' keys finds out, from what is public alone."""

import base64
from dataclasses import dataclass
from typing import Any

import pytest
from canonicaljson import encode_canonical_json
from nacl.signing import SigningKey
from sqlalchemy import text
from unpaddedbase64 import encode_base64

from sydent_py.keys import models
from sydent_py.keys.compare import Verdict, compare
from sydent_py.keys.verify import History, NotVerified, Pins, Reason, verify, verify_history
from sydent_py.log.leaf import Leaf, commit
from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.proof import Proof
from tests.driver import OWN
from tests.fakes.key_owner import master_key, public
from tests.key_owner import ALICE, Person, path
from tests.usecases.replication.conftest import Federate, Federation, log_key, verify_key

MINE, THEIRS = master_key("alice's own"), master_key("the liar's")
LIAR = "a.test"
NONCE = bytes(32)


@dataclass
class World:
    """Alice has published at a server that lies from now on; two others follow it."""

    federation: Federation
    alice: Person

    @property
    def pins(self) -> Pins:
        """What a client knows beforehand: the keys of the liar's server and log, and those of its two witnesses."""
        witnesses = [str(log_key(name).verifier_key) for name in ("b.test", "c.test")]
        return Pins.parse(str(log_key(LIAR).verifier_key), [verify_key(LIAR)], witnesses)

    def now_ms(self) -> int:
        return self.federation.clock.now_ms()

    def answer(self, server: str = "a") -> dict[str, Any]:
        return dict(self.federation[server].driver.request("GET", path(ALICE)).get_json())

    def history(self, server: str) -> History:
        """What a server shows of the liar's log."""
        found = self.federation[server].driver.request("GET", path(ALICE, "/history")).get_json()
        pins = self.pins if server == "a" else Pins.parse(str(self.pins.log), [verify_key(LIAR)])
        return verify_history(found, ALICE, pins, self.now_ms())

    def statement(self, op: str, *signers: SigningKey) -> dict[str, Any]:
        """What the liar states in the user's name, with keys of its own."""
        return self.alice.owner.state(op, THEIRS, *(signers or (THEIRS,)), ts=self.now_ms())

    def payload(self, statement: dict[str, Any]) -> dict[str, Any]:
        return self.federation["a"].driver.services.signer.sign({"mxid": ALICE, "statement": statement})

    def log_lie(self, statement: dict[str, Any]) -> None:
        """Put a statement into the log, as no server does that keeps the rules, and show it."""
        built, payload = self.federation["a"].driver.services, self.payload(statement)
        with built.database.begin() as db:
            receipt = built.bindings.bind.associations.log.append(db, "key", payload)
            models.add(
                db,
                user_id=ALICE,
                origin=LIAR,
                seq=statement["seq"],
                master=bytes(THEIRS.verify_key),
                is_reset=False,
                ts=receipt.ts,
                commitment=receipt.commitment,
                nonce=receipt.nonce,
                payload=encode_canonical_json(payload),
                entry_index=None,
                proof=None,
            )
        self.federation.settle()
        witnessed(self.federation)


def witnessed(federation: Federation) -> None:
    """Let everybody cosign what everybody has."""
    for _ in range(2):
        for server in federation.servers.values():
            for submit in server.driver.services.peering.submit.values():
                submit()
        federation.settle(1)


@pytest.fixture
def world(federate: Federate) -> World:
    federation = federate("a", "b", "c")
    alice = Person(federation["a"].driver)
    alice.done("publish", MINE)
    federation.settle()
    witnessed(federation)
    return World(federation, alice)


def test_who_tells_the_truth_is_believed(world: World) -> None:
    current = verify(world.answer(), ALICE, world.pins, world.now_ms())
    assert (current.master, len(current.entry.witnesses)) == (public(MINE), 2)
    assert compare(world.history("a").entries, world.history("b").entries).verdict is Verdict.SAME


def test_a_key_that_is_in_no_log_is_not_believed(world: World) -> None:
    answer = world.answer()
    shown = answer["origins"][LIAR]["current"]
    shown["payload"] = world.payload(world.alice.owner.state("rotate", THEIRS, MINE, ts=world.now_ms()) | {})
    with pytest.raises(NotVerified) as found:
        verify(answer, ALICE, world.pins, world.now_ms())
    assert found.value.reason is Reason.NOT_IN_LOG


def test_a_log_that_is_made_for_one_victim_has_no_witnesses_and_is_a_split_view(world: World) -> None:
    """The liar signs a second tree in which its key is published, and shows it to one client."""
    world.alice.owner.made.clear()
    payload = world.payload(world.statement("publish"))
    leaf = Leaf("key", world.now_ms(), commit(NONCE, encode_canonical_json(payload))).encode()
    forged = log_key(LIAR).sign(str(Checkpoint(f"{LIAR}/log", 1, merkle.leaf_hash(leaf))))
    entry = {"payload": payload, "nonce": encode_base64(NONCE), "proof": str(Proof(0, (), forged, leaf))}
    answer = {"user_id": ALICE, "origins": {LIAR: {"log": f"{LIAR}/log", "current": entry}}}
    with pytest.raises(NotVerified) as found:
        verify(answer, ALICE, world.pins, world.now_ms())
    assert found.value.reason is Reason.WITNESSES
    careless = Pins.parse(str(world.pins.log), [verify_key(LIAR)])
    believed = verify(answer, ALICE, careless, world.now_ms())
    comparison = compare(believed.entries, world.history("b").entries)
    assert comparison.verdict is Verdict.CONTRADICTION
    assert {each.statement.master for each in comparison.evidence} == {bytes(MINE.verify_key), bytes(THEIRS.verify_key)}
    answers = world.federation["c"].driver.request("GET", f"{OWN}/peers/checkpoints").get_json()["checkpoints"]
    [seen] = [each["checkpoint"] for each in answers if each["log"] == f"{LIAR}/log"]
    assert base64.b64encode(Checkpoint.parse(forged.text).root).decode() not in seen


def test_a_rotation_without_the_users_key_is_refused_by_every_peer_and_every_client(world: World) -> None:
    world.log_lie(world.statement("rotate"))
    with pytest.raises(NotVerified) as found:
        world.history("a")
    assert found.value.reason in {Reason.BROKEN_CHAIN, Reason.USER_SIGNATURE}
    for peer in "bc":
        assert world.history(peer).current(world.now_ms()).master == public(MINE)
        [(origin, _, reason)] = world.federation[peer].quarantine()
        assert (origin, "must be signed" in reason) == (LIAR, True)


def test_a_second_chain_in_the_users_name_is_refused_by_every_peer(world: World) -> None:
    with world.federation["a"].driver.services.database.begin() as db:
        db.execute(text("DELETE FROM key_statements"))
    world.alice.owner.made.clear()
    world.log_lie(world.statement("publish"))
    assert verify(world.answer(), ALICE, Pins.parse(str(world.pins.log), [verify_key(LIAR)]), world.now_ms())
    for peer in "bc":
        assert world.history(peer).current(world.now_ms()).master == public(MINE)
        comparison = compare(world.history("a").entries, world.history(peer).entries)
        assert not comparison.is_agreement
        assert [each[0] for each in world.federation[peer].quarantine()] == [LIAR]


def test_a_reset_that_is_forged_is_shown_by_every_peer_long_before_it_counts(world: World) -> None:
    token = world.federation["b"].bind("alice@example.org", ALICE)
    Person(world.federation["b"].driver, token=token).done("publish", MINE)
    world.log_lie(world.statement("reset"))
    assert world.history("b").current(world.now_ms()).pending is not None
    world.federation.clock.advance(72 * 3600)
    world.federation.settle()
    shown = world.answer("c")["origins"]
    said = {origin: each["current"]["payload"]["statement"]["op"] for origin, each in shown.items()}
    assert said == {LIAR: "reset", "b.test": "publish"}


def test_who_withholds_a_rotation_is_behind_its_peers(world: World) -> None:
    old = world.answer()
    newer = master_key("newer")
    world.alice.done("rotate", newer, MINE, newer)
    world.federation.settle()
    believed = verify(old, ALICE, world.pins, world.now_ms())
    assert compare(believed.entries, world.history("b").entries).verdict is Verdict.HERE_IS_BEHIND
    stale = Pins.parse(
        str(world.pins.log), [verify_key(LIAR)], [str(key) for key in world.pins.witnesses], max_age_ms=60_000
    )
    world.federation.clock.advance(3600)
    with pytest.raises(NotVerified) as found:
        verify(old, ALICE, stale, world.now_ms())
    assert found.value.reason is Reason.WITNESSES
