"""Followers cosign what they have verified, and a log serves what its followers say of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text
from unpaddedbase64 import decode_base64

from sydent_py import worker
from sydent_py.log.leaf import Leaf
from sydent_py.replication.peers import Peer
from sydent_py.replication.witness import Witness
from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.cosignature import WitnessKey, cosigned_at
from sydent_py.tlog.note import Note, SigningKey
from sydent_py.tlog.proof import Proof
from sydent_py.tlog.submission import Submission
from tests.driver import OWN
from tests.fakes.logs import FakeLog
from tests.usecases.replication.conftest import Federate, Federation, Server, peer_section, seed
from tests.usecases.replication.test_witness import published, submit, witness_key

A_LOG = SigningKey("a.test/log", seed("a.test", "log"))
ADD = f"{OWN}/log/add-checkpoint".removeprefix("/")


def grow(server: Server, count: int) -> None:
    """More entries, of users and addresses of their own."""
    log, signer = server.driver.services.bindings.bind.associations.log, server.driver.services.signer
    first = server.log_size()
    with server.driver.services.database.begin() as db:
        for number in range(first, first + count):
            ts = server.driver.clock.now_ms()
            content = {"medium": "email", "address": f"u{number}@{server.name}", "mxid": f"@u{number}:hs.test"}
            log.append(db, "bind", signer.sign({**content, "ts": ts, "not_before": ts, "not_after": ts + 10**12}))
    server.driver.sequence()


def have_cosigned(server: Server) -> None:
    """A round of what the worker does about witnesses."""
    for each in server.driver.services.peering.submit.values():
        each()


def served(server: Server) -> Note:
    return Note.parse(server.driver.log("checkpoint").data)


def names(note: Note) -> list[str]:
    return [signature.name for signature in note.signatures]


def forked(federation: Federation, count: int) -> None:
    """As if an old backup had been restored at a.test, and other entries come."""
    server = federation["a"]
    with server.driver.services.database.begin() as db:
        for table in ("log_entries", "log_tiles", "log_head", "log_pending"):
            db.execute(text(f"DELETE FROM {table}"))
    server.driver.services.sequencer.prepare()
    federation.clock.advance(1)
    grow(server, count)


def until_stopped(federation: Federation) -> None:
    """A cache or a connection may be at fault: a peer is given time, and asked again a few times, before it is stopped."""
    for _ in range(30):
        federation.clock.advance(300)
        federation["b"].work()
        have_cosigned(federation["a"])
        if federation["b"].state("a.test").is_stopped:
            return
    raise AssertionError(federation["b"].state("a.test"))


def test_a_follower_cosigns_what_it_has_verified(federate: Federate) -> None:
    federation = federate("a", "b")
    for count in (1, 4, 300, 1):
        grow(federation["a"], count)
        federation.settle(1)
        note = published(federation["b"])["a.test/log"]
        assert note.text == served(federation["a"]).text
        assert names(note) == ["a.test/log", "b.test/witness"]
        assert note.is_signed_by(A_LOG.verifier_key)
        assert cosigned_at(note, witness_key("b.test")) == federation.clock.now_ms() // 1000
    assert published(federation["a"]) == {}, "b.test has an empty log"


def test_nothing_is_cosigned_before_all_of_it_is_verified(federate: Federate) -> None:
    federation = federate("a", "b")
    grow(federation["a"], 2500)
    follow = federation["b"].driver.services.peering.follow["a.test"]
    for size, is_cosigned in ((1024, False), (2048, False), (2500, True)):
        follow._advance(follow._state())
        assert federation["b"].state("a.test").size == size
        assert ("a.test/log" in published(federation["b"])) is is_cosigned


def test_a_follower_that_lags_behind_what_it_cosigned_finds_that_it_fits(federate: Federate) -> None:
    federation = federate("a", "b")
    for count in (3, 300, 700):
        grow(federation["a"], count)
        have_cosigned(federation["a"])  # b.test has followed nothing of this yet
        grow(federation["a"], 5)
        federation.settle(1)
        assert federation["b"].state("a.test").error is None
        assert published(federation["b"])["a.test/log"].text == served(federation["a"]).text


def test_a_log_serves_the_cosignatures_of_its_newest_checkpoint(federate: Federate) -> None:
    federation = federate("a", "b", "c")
    token = federation["a"].driver.register()
    sid = federation["a"].driver.validate(token)
    receipt = federation["a"].driver.bind(token, sid).get_json()["unsigned"]["sydent_py"]["receipt"]
    federation["a"].driver.sequence()
    assert names(served(federation["a"])) == ["a.test/log"]
    have_cosigned(federation["a"])
    answer = federation["a"].driver.log(f"proof?commitment={quote(receipt['commitment'])}")
    proof = Proof.parse(answer.data)
    leaf = Leaf(receipt["kind"], receipt["ts"], decode_base64(receipt["commitment"])).encode()
    assert proof.proves(leaf, A_LOG.verifier_key)
    for note in (served(federation["a"]), proof.checkpoint, Note.parse(status_note(federation["a"]))):
        assert names(note) == ["a.test/log", "b.test/witness", "c.test/witness"]
        for name in ("b.test", "c.test"):
            assert cosigned_at(note, witness_key(name)) == federation.clock.now_ms() // 1000
    grow(federation["a"], 1)
    assert names(served(federation["a"])) == ["a.test/log"]
    have_cosigned(federation["a"])
    federation.settle()
    assert names(served(federation["a"])) == ["a.test/log", "b.test/witness", "c.test/witness"]
    assert federation["b"].state("a.test").error is None, "a follower reads a checkpoint with cosignatures"


def status_note(server: Server) -> bytes:
    return server.driver.services.published_log.status().note.encode()


def test_a_checkpoint_is_submitted_once_and_what_the_witness_knows_is_remembered(federate: Federate) -> None:
    federation = federate("a", "b")

    def asked() -> int:
        before = len(federation.network.requests)
        have_cosigned(federation["a"])
        return len(federation.network.requests) - before

    assert asked() == 0, "the empty log needs no witness"
    grow(federation["a"], 3)
    assert [asked(), asked()] == [1, 0]
    grow(federation["a"], 3)
    federation["b"].work()  # it cosigns by itself, and what is remembered of it is wrong then
    federation.clock.advance(31)
    federation["b"].work()
    assert [asked(), asked()] == [2, 0]
    federation.launch("a.test", peers=[peer_section("b.test")])
    grow(federation["a"], 3)
    assert asked() == 1, "remembered across a restart"


@pytest.mark.parametrize(("direction", "count"), [("both", 1), ("serve", 1), ("follow", 0)])
def test_peers_that_are_served_are_asked(federate: Federate, direction: str, count: int) -> None:
    federation = federate("a", "b")
    server = federation.launch("a.test", peers=[peer_section("b.test", direction=direction)])
    names_of_jobs = [job.name for job in worker.jobs(server.driver.services)]
    assert names_of_jobs.count("submit b.test") == count


def test_a_dead_peer_is_asked_again_after_a_while_and_keeps_no_other_waiting(federate: Federate) -> None:
    federation = federate("a", "b", "c")
    federation.network.cut.add(frozenset(("a.test", "b.test")))
    grow(federation["a"], 3)
    for _ in range(3):
        have_cosigned(federation["a"])
    to_b = [request for request in federation.network.requests if request[1] == "b.test"]
    assert (len(to_b), names(served(federation["a"]))) == (1, ["a.test/log", "c.test/witness"])
    federation.network.cut.clear()
    have_cosigned(federation["a"])
    assert names(served(federation["a"])) == ["a.test/log", "c.test/witness"]
    federation.clock.advance(10)
    have_cosigned(federation["a"])
    assert names(served(federation["a"])) == ["a.test/log", "b.test/witness", "c.test/witness"]


def lines(*signatures: object) -> bytes:
    return "".join(f"{line}\n" for line in signatures).encode()


OTHER_TREE = FakeLog(A_LOG).checkpoint(3).text
LIES: dict[str, Callable[[str], bytes]] = {
    "a cosignature of another tree": lambda _text: lines(WitnessKey("b.test/witness", seed("b.test", "log")).cosign(OTHER_TREE, 1)),
    "of another key": lambda text: lines(WitnessKey("b.test/witness", bytes(32)).cosign(text, 1)),
    "in another name": lambda text: lines(WitnessKey("c.test/witness", seed("b.test", "log")).cosign(text, 1)),
    "a signature in the log's name": lambda text: lines(*SigningKey("a.test/log", bytes(32)).sign(text).signatures),
    "the peer's signature as a log": lambda text: lines(*SigningKey("b.test/witness", seed("b.test", "log")).sign(text).signatures),
    "nonsense": lambda _text: b"\xff\n",
    "nothing": lambda _text: b"",
    "a blank line": lambda _text: b"\n",
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_a_lying_peer_answers_is_not_served(federate: Federate, lie: Callable[[str], bytes]) -> None:
    federation = federate("a", "b")
    grow(federation["a"], 3)
    text_ = served(federation["a"]).text
    federation.network.tamper["b.test"] = lambda path, content: lie(text_) if path == ADD else content
    have_cosigned(federation["a"])
    assert served(federation["a"]).signatures == A_LOG.sign(text_).signatures
    federation.network.tamper.clear()
    federation.clock.advance(10)
    have_cosigned(federation["a"])
    assert names(served(federation["a"])) == ["a.test/log", "b.test/witness"]


def test_beside_a_good_cosignature_nothing_else_is_served(federate: Federate) -> None:
    federation = federate("a", "b")
    grow(federation["a"], 3)
    text_ = served(federation["a"]).text
    bad = lines(WitnessKey("c.test/witness", bytes(32)).cosign(text_, 1))
    federation.network.tamper["b.test"] = lambda _path, content: bad + content + bad
    have_cosigned(federation["a"])
    assert names(served(federation["a"])) == ["a.test/log", "b.test/witness"]


def test_a_peer_that_has_seen_more_of_our_log_than_there_is_gets_no_proof(federate: Federate) -> None:
    federation = federate("a", "b")
    grow(federation["a"], 9)
    have_cosigned(federation["a"])
    forked(federation, 5)
    have_cosigned(federation["a"])
    assert names(served(federation["a"])) == ["a.test/log"]
    assert published(federation["b"])["a.test/log"].text != served(federation["a"]).text


@pytest.mark.parametrize("count", [5, 9, 12])
def test_neither_following_nor_a_resync_makes_the_witness_cosign_a_fork(federate: Federate, count: int) -> None:
    federation = federate("a", "b")
    grow(federation["a"], 9)
    federation.settle(1)
    before = published(federation["b"])
    forked(federation, count)
    until_stopped(federation)
    assert published(federation["b"]) == before
    federation["b"].driver.services.peering.resync("a.test")
    grow(federation["a"], 20)
    for _ in range(4):
        federation.settle(1)
        have_cosigned(federation["a"])
    state = federation["b"].state("a.test")
    assert (state.size, bool(state.is_stopped)) == (count + 20, False), "the operator follows it anew"
    assert published(federation["b"]) == before
    assert names(served(federation["a"])) == ["a.test/log"]


@pytest.mark.parametrize("count", [4, 9, 20])
def test_a_log_that_shows_its_follower_another_tree_than_it_submitted_is_stopped(federate: Federate, count: int) -> None:
    federation = federate("a", "b")
    fork = FakeLog(A_LOG, branch=" of another history")
    assert submit(federation["b"], fork.submission(0, 9)).status_code == 200
    grow(federation["a"], count)
    until_stopped(federation)
    state = federation["b"].state("a.test")
    evidence = bytes(state.evidence).decode()
    assert all(str(note) in evidence for note in (fork.checkpoint(9), A_LOG.sign(served(federation["a"]).text)))
    assert published(federation["b"])["a.test/log"].text == fork.checkpoint(9).text


def test_a_resync_alone_does_not_let_a_log_contradict_what_was_cosigned(federate: Federate) -> None:
    federation = federate("a", "b")
    grow(federation["a"], 9)
    federation.settle(1)
    federation["b"].driver.services.peering.resync("a.test")  # its operator had other reasons
    forked(federation, 12)
    until_stopped(federation)
    assert "cosigned" in federation["b"].state("a.test").error


def test_a_log_that_was_stopped_for_other_reasons_is_cosigned_again_after_a_resync(federate: Federate) -> None:
    federation = federate("a", "b")
    grow(federation["a"], 9)
    federation.settle(1)
    with federation["b"].driver.services.database.begin() as db:
        db.execute(text("UPDATE peers SET is_stopped = :yes"), {"yes": True})
    federation["b"].driver.services.peering.resync("a.test")
    grow(federation["a"], 1)
    federation.settle(1)
    assert published(federation["b"])["a.test/log"].text == served(federation["a"]).text
    federation["b"].driver.services.peering.resync("a.test")
    forked(federation, 30)
    until_stopped(federation)


def test_a_log_with_a_new_key_that_begins_anew_is_followed_and_not_cosigned(federate: Federate) -> None:
    federation = federate("a", "b")
    fork = FakeLog(replace(A_LOG, seed=bytes(32)), branch=" of another history")
    section = peer_section("a.test", log_key=str(fork.key.verifier_key))
    b = federation.launch("b.test", peers=[section])
    assert submit(b, fork.submission(0, 2)).status_code == 200
    b.driver.services.peering.follow["a.test"]()
    b = federation.launch("b.test", peers=[peer_section("a.test")])
    b.driver.services.peering.resync("a.test")
    grow(federation["a"], 5)
    federation.settle(2)
    assert (b.state("a.test").size, bool(b.state("a.test").is_stopped)) == (5, False)
    assert published(b)["a.test/log"].text == fork.checkpoint(2).text


@dataclass(frozen=True)
class Overtaken(Witness):
    """Something else is cosigned between the follower's comparison and its transaction."""

    meanwhile: Callable[[], object] = tuple
    looked: list[bool] = field(default_factory=list)

    def last(self, peer: Peer) -> Any:
        before = super().last(peer)
        self.looked.append(True)
        if len(self.looked) == 2:  # the first time is when the peer's checkpoint comes
            self.meanwhile()
        return before


@pytest.mark.parametrize("is_fork", [False, True])
def test_a_submission_while_the_follower_verifies_is_not_rolled_back(federate: Federate, *, is_fork: bool) -> None:
    federation = federate("a", "b")
    grow(federation["a"], 4)
    federation["b"].work()
    federation["a"].driver.services.peering.submit["b.test"]()
    federation.clock.advance(31)
    submission = federation["a"].driver.services.published_log.submission(4)
    grow(federation["a"], 3)
    later = federation["a"].driver.services.published_log.submission(4)
    assert submission
    assert later
    if is_fork:
        first = Checkpoint.parse(submission.checkpoint.text)
        roots = [bytes(32), bytes(range(32))]  # any three entries more
        new = merkle.node_hash(first.root, merkle.node_hash(roots[0], roots[1]))
        later = Submission(4, (merkle.node_hash(roots[0], roots[1]),), A_LOG.sign(str(Checkpoint(A_LOG.name, 7, new))))
    answers = []
    follow = federation["b"].driver.services.peering.follow["a.test"]
    witness = follow.witness
    overtaken = Overtaken(
        witness.database, witness.key, witness.peers, witness.clock, lambda: answers.append(submit(federation["b"], later))
    )
    replace(follow, witness=overtaken)()
    assert [answer.status_code for answer in answers] == [200]
    assert published(federation["b"])["a.test/log"].text == later.checkpoint.text
    state = federation["b"].state("a.test")
    assert (state.size, bool(state.is_stopped)) == ((4, True) if is_fork else (7, False))


def first_proof(server: Server) -> Proof:
    with server.driver.services.database.begin() as db:
        commitment = bytes(db.execute(text("SELECT commitment FROM log_entries WHERE entry_index = 0")).scalar_one())
    return server.driver.services.published_log.proof(commitment)


def test_an_entry_is_proved_at_the_checkpoint_that_is_cosigned_while_the_log_grows(federate: Federate) -> None:
    federation = federate("a", "b")
    a = federation["a"]
    grow(a, 3)
    have_cosigned(a)
    grow(a, 2)
    proof = first_proof(a)
    assert Checkpoint.parse(proof.checkpoint.text).size == 3
    assert names(proof.checkpoint) == ["a.test/log", "b.test/witness"]
    assert proof.proves(proof.extra or b"", A_LOG.verifier_key)
    federation.clock.advance(3600)
    assert Checkpoint.parse(first_proof(a).checkpoint.text).size == 5


def test_a_log_that_does_not_grow_is_cosigned_again_and_again(federate: Federate) -> None:
    federation = federate("a", "b")
    a, witness = federation["a"], witness_key("b.test")
    grow(a, 1)
    have_cosigned(a)
    first_s = cosigned_at(served(a), witness)
    federation.clock.advance(599)
    have_cosigned(a)
    assert cosigned_at(served(a), witness) == first_s
    federation.clock.advance(2)
    have_cosigned(a)
    assert cosigned_at(served(a), witness) == federation.clock.now_ms() // 1000
