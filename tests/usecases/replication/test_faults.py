"""What a peer does wrong stops that peer at most, with the evidence kept, and never anybody else."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from sydent_py.clock import DAY_MS
from sydent_py.database import Database
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.replication.client import OWN as PREFIX
from sydent_py.replication.follow import CONTRADICTIONS, SHRUNK_FOR_MS
from sydent_py.replication.take_over import MAX_QUARANTINED
from sydent_py.tlog.note import SigningKey as LogKey
from tests.driver import OWN
from tests.fakes.lying_peer import BUNDLE, LyingPeer
from tests.usecases.replication.conftest import EVIL, Federate, Hostile, Server, log_key, peer_section, seed

# For what the database has no part in.
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"])
ALICE, BOB = "@alice:hs.test", "@bob:hs.test"
ONE, TWO = "one@example.org", "two@example.org"


def test_a_peer_that_keeps_its_log_as_it_should_is_followed(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.look()
    hostile.evil.bind(TWO, BOB)
    hostile.evil.unbind(ONE, ALICE)
    state = hostile.look()
    assert (state.size, state.error, state.is_stopped) == (3, None, False)
    assert hostile.server.lookup(ONE, TWO) == {TWO: BOB}
    assert hostile.server.quarantine() == []


# What stops a peer


def test_two_trees_of_one_size_stop_the_peer_and_both_notes_are_kept(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.look()
    first = hostile.evil.checkpoint()
    hostile.evil.entries.clear()
    hostile.evil.given.clear()
    hostile.evil.bind(ONE, BOB)
    second = hostile.evil.checkpoint()
    assert "forked" in hostile.stopped(looks=1)
    assert [str(note).encode() for note in hostile.evidence()] == [first, second]
    assert all(note.is_signed_by(hostile.evil.log_key.verifier_key) for note in hostile.evidence())
    assert hostile.server.lookup(ONE) == {ONE: ALICE}


def test_a_log_that_is_shorter_for_long_stops_the_peer(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.bind(TWO, ALICE)
    hostile.look()
    longer = hostile.evil.checkpoint()
    hostile.evil.entries.pop()
    began_ms = hostile.federation.clock.now_ms()
    while not (state := hostile.look(after_s=60)).is_stopped:
        assert state.size == 2
    assert SHRUNK_FOR_MS < hostile.federation.clock.now_ms() - began_ms < 1.5 * SHRUNK_FOR_MS
    assert "shrunk from 2 entries to 1" in state.error
    assert [str(note).encode() for note in hostile.evidence()] == [longer, hostile.evil.checkpoint()]
    assert hostile.server.lookup(ONE, TWO) == {ONE: ALICE, TWO: ALICE}


@ON_SQLITE
def test_a_log_that_was_shorter_for_a_moment_is_followed_on(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    earlier = hostile.evil.checkpoint()
    hostile.evil.bind(TWO, ALICE)
    hostile.look()
    for _ in range(3):
        hostile.evil.lies["checkpoint"] = lambda _: earlier
        assert not hostile.look().is_stopped
        hostile.evil.lies.clear()
        assert hostile.look().shrunk_since_ms is None
    hostile.evil.unbind(TWO, ALICE)
    assert hostile.look().size == 3


def test_a_rewritten_log_that_has_grown_further_stops_the_peer(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.look()
    before = hostile.evil.checkpoint()
    hostile.evil.entries.clear()
    hostile.evil.given.clear()
    hostile.evil.bind(ONE, BOB)
    hostile.evil.bind(TWO, BOB)
    assert "does not continue the one before" in hostile.stopped()
    assert [str(note).encode() for note in hostile.evidence()] == [before, hostile.evil.checkpoint()]
    assert hostile.server.lookup(ONE, TWO) == {ONE: ALICE}


@ON_SQLITE
def test_a_checkpoint_over_another_tree_than_the_entries_stops_the_peer(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    other = [*hostile.evil.entries[:-1], b"another entry"]
    hostile.evil.lies["checkpoint"] = lambda _: hostile.evil.sign_checkpoint(other)
    assert "not those that its checkpoint signs" in hostile.stopped()
    assert len(hostile.evidence()) == 1
    assert hostile.bindings() == set()


@ON_SQLITE
def test_an_entry_that_is_not_the_one_in_the_tree_stops_the_peer(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.bind(TWO, ALICE)
    first = hostile.evil.entries[0]
    hostile.evil.lies[BUNDLE] = lambda bundle: bundle[: 2 + len(first)] * 2
    hostile.evil.lies["payloads"] = lambda given: [given[0], given[0]]
    assert "not those that its checkpoint signs" in hostile.stopped()
    assert hostile.bindings() == set()


@ON_SQLITE
@pytest.mark.parametrize("name", [f"{EVIL}/log", "other.test/log"])
def test_a_checkpoint_signed_by_another_key_stops_the_peer(hostile: Hostile, name: str) -> None:
    hostile.evil.bind(ONE, ALICE)
    other = LogKey(name, bytes(32))
    hostile.evil.lies["checkpoint"] = lambda _: hostile.evil.sign_checkpoint(hostile.evil.entries, other)
    assert f"no valid signature of {hostile.evil.log_key.verifier_key}" in hostile.stopped()
    assert len(hostile.evidence()) == 1


@ON_SQLITE
def test_what_was_spoiled_on_its_way_a_time_or_two_stops_nobody(hostile: Hostile) -> None:
    for number in range(3 * CONTRADICTIONS):
        hostile.evil.bind(f"u{number}@example.org", ALICE)
        hostile.evil.lies["payloads"] = lambda given: [7] * len(given)
        for _ in range(CONTRADICTIONS - 1):
            assert hostile.look().size == number
        hostile.evil.lies.clear()
        assert hostile.look().size == number + 1


@ON_SQLITE
def test_a_checkpoint_of_another_log_stops_the_peer(hostile: Hostile) -> None:
    other = replace(hostile.evil, log_key=LogKey("other.test/log", hostile.evil.log_key.seed))
    hostile.evil.lies["checkpoint"] = lambda _: other.sign_checkpoint([])
    assert "other.test/log" in hostile.stopped()


@ON_SQLITE
@pytest.mark.parametrize("given", [7, "text", [], {}, {"nonce": "", "payload": {}}, {"nonce": 1, "payload": []}, False])
def test_a_payload_that_the_entry_does_not_commit_to_stops_the_peer(hostile: Hostile, given: Any) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.bind(TWO, ALICE)
    hostile.evil.given[1] = given
    assert "entry 1" in hostile.stopped()
    assert hostile.bindings() == set()


@ON_SQLITE
def test_a_false_tile_stops_the_peer_before_a_page_is_taken_over(hostile: Hostile) -> None:
    write_many(hostile.evil, 1500)
    hostile.evil.lies["tile/0/005"] = lambda hashes: bytes(len(hashes))
    assert "not those that its checkpoint signs" in hostile.stopped()
    assert hostile.bindings() == set()


def write_many(evil: LyingPeer, count: int) -> None:
    for number in range(count):
        evil.put(b"entry %d" % number, None)


def test_a_stopped_peer_is_followed_anew_when_the_operator_says_so(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.look()
    hostile.evil.entries.clear()
    hostile.evil.given.clear()
    hostile.evil.bind(TWO, BOB)
    hostile.stopped(looks=1)
    hostile.server.driver.services.peering.resync(EVIL)
    state = hostile.look()
    assert (state.size, state.error, state.is_stopped, state.evidence) == (1, None, False, None)
    assert hostile.server.lookup(ONE, TWO) == {TWO: BOB}


# What is tried again

GARBAGE = {
    "nothing": b"",
    "text": b"<html>Bad gateway</html>",
    "no UTF-8": b"\xff\xfe\n\n\xff",
    "no signature": f"{EVIL}/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".encode(),
}


@ON_SQLITE
@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_checkpoint_is_noted_and_tried_again(hostile: Hostile, garbage: str) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.lies["checkpoint"] = lambda _: GARBAGE[garbage]
    state = hostile.look()
    assert (state.size, state.is_stopped) == (0, False)
    assert "malformed" in state.error
    hostile.evil.lies.clear()
    state = hostile.look()
    assert (state.size, state.error) == (1, None)


def cut_off(content: bytes) -> bytes:
    return content[:-1]


TOO_MUCH: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "too few payloads": ("payloads", lambda given: given[:-1]),
    "too many payloads": ("payloads", lambda given: [*given, None]),
    "a bundle that is cut off": (BUNDLE, cut_off),
    "a bundle with too few entries": (BUNDLE, lambda bundle: bundle[: 2 + int.from_bytes(bundle[:2], "big")]),
    "a bundle that is too large": (BUNDLE, lambda bundle: bundle * 1000),
    "a checkpoint that is too large": ("checkpoint", lambda note: note * 1000),
    "payloads that are too large": ("payloads", lambda given: [{"payload": "x" * 3_000_000}] * len(given)),
    "payloads that are nested too deeply": ("payloads", lambda given: [nested(40)] * len(given)),
    "a payload with a number that is too large": ("payloads", lambda given: [{"payload": {"ts": 2**60}}] * len(given)),
    "a payload with a character that cannot be stored": ("payloads", lambda given: ["\x00"] * len(given)),
}


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


@ON_SQLITE
@pytest.mark.parametrize("lie", TOO_MUCH)
def test_an_answer_of_the_wrong_size_or_form_is_noted_and_tried_again(hostile: Hostile, lie: str) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.bind(TWO, BOB)
    name, hostile.evil.lies[TOO_MUCH[lie][0]] = TOO_MUCH[lie]
    state = hostile.look()
    assert (state.size, state.is_stopped) == (0, False)
    assert state.error.startswith(("malformed", "too_large"))
    assert hostile.bindings() == set()
    hostile.works_for_others()
    del hostile.evil.lies[name]
    state = hostile.look()
    assert (state.size, state.error) == (2, None)


@ON_SQLITE
@pytest.mark.parametrize("lie", [cut_off, lambda hashes: hashes[:-32], lambda _: b""])
def test_a_tile_that_is_too_short_is_noted_and_tried_again(hostile: Hostile, lie: Callable[[bytes], bytes]) -> None:
    write_many(hostile.evil, 1500)
    hostile.evil.lies["tile/0/005"] = lie
    state = hostile.look()
    assert (state.size, state.is_stopped) == (0, False)
    assert state.error is not None
    hostile.evil.lies.clear()
    assert hostile.look().size == 1500


def test_a_peer_that_is_not_there_is_asked_again_and_nobody_else_waits(federate: Federate) -> None:
    federation = federate("a", "b", "c")
    federation.settle()
    federation.network.cut |= {frozenset(("a.test", "b.test"))}
    federation["b"].bind(ONE, ALICE)
    federation["c"].bind(TWO, BOB)
    federation.settle()
    assert federation["a"].lookup(ONE, TWO) == {TWO: BOB}
    state = federation["a"].state("b.test")
    assert (state.error, state.is_stopped) == (Reason.UNREACHABLE.value, False)
    federation.network.cut.clear()
    federation.settle()
    assert federation["a"].lookup(ONE, TWO) == {ONE: ALICE, TWO: BOB}
    assert federation["a"].state("b.test").error is None


@ON_SQLITE
def test_a_peer_that_failed_is_left_alone_for_a_moment_however_often_it_nudges(hostile: Hostile) -> None:
    hostile.evil.lies["checkpoint"] = cut_off
    hostile.look()
    peering = hostile.server.driver.services.peering
    for _ in range(5):
        peering.nudged(peering.peers[EVIL], 10**6)
        hostile.look(after_s=0.2)
    assert hostile.evil.asked.count("checkpoint") == 1


def test_a_peer_that_says_its_log_has_grown_when_it_has_not_is_asked_once(hostile: Hostile) -> None:
    hostile.look()
    peering = hostile.server.driver.services.peering
    peering.nudged(peering.peers[EVIL], 2**53 - 1)
    for _ in range(5):
        hostile.look(after_s=0.2)
    assert hostile.evil.asked.count("checkpoint") == 2


def test_a_nudge_that_comes_while_the_log_is_asked_for_is_not_forgotten(hostile: Hostile) -> None:
    peering = hostile.server.driver.services.peering
    hostile.look()

    def grow(checkpoint: bytes) -> bytes:
        hostile.evil.lies.clear()
        hostile.evil.bind(ONE, ALICE)
        peering.nudged(peering.peers[EVIL], 1)
        return checkpoint

    hostile.evil.lies["checkpoint"] = grow
    hostile.look()
    hostile.look(after_s=0.2)
    assert hostile.server.lookup(ONE) == {ONE: ALICE}


@ON_SQLITE
@pytest.mark.parametrize("set_back_s", [60, 86_400])
def test_a_clock_that_was_set_back_keeps_no_peer_waiting(hostile: Hostile, set_back_s: int) -> None:
    hostile.look()
    hostile.federation.clock.advance(-set_back_s)
    hostile.evil.bind(ONE, ALICE)
    hostile.look()
    assert hostile.server.lookup(ONE) == {ONE: ALICE}


# What is put aside


def test_entries_that_are_not_taken_over_are_put_aside_and_the_rest_goes_on(hostile: Hostile) -> None:
    hostile.federation.launch("a.test", peers=[peer_section(EVIL, scope={"homeservers": ["hs.test"]})])
    evil = hostile.evil
    evil.bind(ONE, ALICE)
    evil.bind(TWO, "@alice:other.test")
    evil.put(b"nonsense", None)
    evil.bind(TWO, ALICE, ts=evil.clock.now_ms() + 2 * DAY_MS)
    evil.write("bind", evil.claim(TWO, BOB))
    evil.bind("TWO@example.org", BOB)
    evil.bind(TWO, BOB)
    state = hostile.look()
    assert (state.size, state.error, state.is_stopped) == (7, None, False)
    assert [index for _, index, _ in hostile.server.quarantine()] == [1, 2, 3, 4, 5]
    assert hostile.server.lookup(ONE, TWO) == {ONE: ALICE, TWO: BOB}


def test_what_is_from_the_near_future_is_waited_for(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.bind(TWO, BOB, ts=hostile.federation.clock.now_ms() + 600_000)
    state = hostile.look()
    assert (state.size, state.is_stopped) == (0, False)
    assert "entry 1 is from the future" in state.error
    hostile.works_for_others()
    state = hostile.look(after_s=600)
    assert (state.size, state.error) == (2, None)
    assert hostile.server.lookup(ONE, TWO) == {ONE: ALICE, TWO: BOB}
    assert hostile.server.quarantine() == []


@ON_SQLITE
def test_more_than_a_peer_could_log_is_put_aside_without_it(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE, more="x" * 8192)
    hostile.evil.bind(ONE.upper(), ALICE, more="x" * 8192)
    hostile.look()
    assert hostile.server.state(EVIL).size == 2
    with hostile.server.driver.services.database.begin() as db:
        assert db.execute(text("SELECT payload FROM quarantine WHERE entry_index = 1")).scalar_one() is None


def test_what_is_put_aside_is_sealed(hostile: Hostile) -> None:
    hostile.evil.bind(ONE.upper(), ALICE)
    hostile.look()
    with hostile.server.driver.services.database.begin() as db:
        [row] = db.execute(text("SELECT * FROM quarantine")).mappings()
    assert ONE not in str({**row, "payload": bytes(row["payload"])}).lower()
    assert (
        ONE
        in hostile.server.driver.services.peering.registers.addresses.sealer.unseal(
            bytes(row["payload"]), "quarantine.payload"
        ).lower()
    )


@ON_SQLITE
def test_a_peer_of_whose_entries_too_many_cannot_be_taken_over_is_stopped(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    write_many(hostile.evil, MAX_QUARANTINED)
    state = hostile.look()
    assert (state.size, state.error, state.is_stopped) == (1 + MAX_QUARANTINED, None, False)
    write_many(hostile.evil, 1)
    assert f"more than {MAX_QUARANTINED} of its entries" in hostile.stopped()
    assert hostile.server.state(EVIL).size == 1 + MAX_QUARANTINED
    assert len(hostile.server.quarantine()) == MAX_QUARANTINED
    assert hostile.server.lookup(ONE) == {ONE: ALICE}


def test_a_payload_that_is_missing_is_put_aside_until_the_log_says_that_it_was_erased(hostile: Hostile) -> None:
    commitment = hostile.evil.bind(ONE, ALICE)
    hostile.evil.bind(TWO, BOB)
    hostile.evil.given[0] = None
    hostile.look()
    assert [index for _, index, _ in hostile.server.quarantine()] == [0]
    hostile.evil.erase(commitment)
    hostile.look()
    assert hostile.server.quarantine() == []
    assert hostile.server.lookup(ONE, TWO) == {TWO: BOB}


def test_what_is_erased_in_the_same_page_is_not_put_aside(hostile: Hostile) -> None:
    commitment = hostile.evil.bind(ONE, ALICE)
    hostile.evil.given[0] = None
    hostile.evil.erase(commitment)
    hostile.look()
    assert hostile.server.quarantine() == []


# What a peer says of others


def test_a_peer_neither_takes_back_nor_replaces_nor_erases_what_others_say(hostile: Hostile) -> None:
    hostile.server.bind(ONE, ALICE)
    hostile.server.driver.sequence()
    with hostile.server.driver.services.database.begin() as db:
        [own] = db.execute(text("SELECT commitment FROM log_entries")).scalars()
    hostile.evil.unbind(ONE, ALICE)
    hostile.evil.erase(bytes(own))
    hostile.evil.bind(ONE, "@mallory:hs.test", ts=1)
    state = hostile.look()
    assert (state.size, hostile.server.quarantine()) == (3, [])
    assert hostile.server.lookup(ONE) == {ONE: ALICE}
    hostile.evil.bind(ONE, "@mallory:hs.test", ts=hostile.federation.clock.now_ms())
    hostile.evil.unbind(ONE, "@mallory:hs.test")
    hostile.look()
    assert hostile.server.lookup(ONE) == {ONE: ALICE}


def test_a_peer_that_erases_the_entries_of_another_peer_erases_nothing(federate: Federate) -> None:
    federation = federate("a", "b")
    evil = LyingPeer(EVIL, seed(EVIL, "signing"), log_key(EVIL), federation.clock)
    federation.network.apps[EVIL] = evil.app
    federation.launch("a.test", peers=[peer_section("b.test"), peer_section(EVIL)])
    federation["b"].bind(ONE, ALICE)
    federation.settle()
    with federation["b"].driver.services.database.begin() as db:
        [commitment] = db.execute(text("SELECT commitment FROM log_entries")).scalars()
    evil.erase(bytes(commitment))
    federation.settle()
    assert federation["a"].state(EVIL).size == 1
    assert federation["a"].lookup(ONE) == {ONE: ALICE}


@ON_SQLITE
def test_a_peers_log_that_is_shown_as_it_was_brings_nothing_back(federate: Federate) -> None:
    federation = federate("a", "b")
    token = federation["a"].bind(ONE, ALICE)
    seen: dict[str, bytes] = {}
    federation.network.tamper["a.test"] = seen.setdefault
    federation.settle()
    federation.network.tamper.clear()
    federation["a"].driver.request("DELETE", f"{OWN}/bindings/email/{ONE}", token)
    federation.settle()
    federation.network.tamper["a.test"] = seen.get
    federation.clock.advance(31)
    federation["b"].work()
    assert f"{PREFIX}/log/checkpoint" in seen
    assert federation["b"].lookup(ONE) == {}
    assert federation["b"].state("a.test").size == 2


@ON_SQLITE
def test_a_peer_that_is_not_served_gets_no_payloads(federate: Federate) -> None:
    federation = federate("a", "b")
    federation["a"].bind(ONE, ALICE)
    federation["a"].driver.sequence()
    federation.launch("a.test", peers=[peer_section("b.test", direction="follow")])
    source = federation["b"].driver.services.peering.follow["a.test"].source
    with pytest.raises(RequestFailed, match="does not share"):
        source.payloads(0, 256)


# The configuration changes


def test_a_peer_that_comes_back_into_the_configuration_is_followed_from_its_first_entry(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.look()
    hostile.federation.launch("a.test", peers=[]).driver.services.forget_expired()
    assert hostile.server.lookup(ONE) == {}
    hostile.federation.launch("a.test", peers=[peer_section(EVIL)])
    hostile.look()
    assert hostile.server.lookup(ONE) == {ONE: ALICE}


def test_a_stopped_peer_stays_stopped_when_it_was_out_of_the_configuration(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.given[0] = 7
    for _ in range(CONTRADICTIONS):
        hostile.look()
    hostile.federation.launch("a.test", peers=[]).driver.services.forget_expired()
    hostile.federation.launch("a.test", peers=[peer_section(EVIL)])
    assert hostile.look().is_stopped


# The database fails, and followers race


class Killed(BaseException):
    """The process ends here."""


class BrokenDatabase(Exception):
    """The database does no more."""


@dataclass
class Breaks:
    """Raises at the n-th statement or commit from now on, of all that the server does."""

    error: type[BaseException]
    countdown: Iterator[None] = field(default_factory=lambda: itertools.repeat(None))

    def watch(self, server: Server) -> None:
        database = server.driver.services.database
        for engine in (database._units, database._statements):
            event.listen(engine, "before_cursor_execute", self._maybe)
            event.listen(engine, "commit", self._maybe)

    def after(self, statements: int | None) -> None:
        self.countdown = itertools.repeat(None) if statements is None else itertools.repeat(None, statements)

    def _maybe(self, *_arguments: object) -> None:
        if next(self.countdown, "over") == "over":
            raise self.error


@pytest.mark.parametrize("error", [Killed, BrokenDatabase])
def test_where_the_database_fails_at_any_statement_nothing_is_half_taken_over(
    hostile: Hostile, error: type[BaseException]
) -> None:
    breaks, failures = Breaks(error), 0
    hostile.look()
    breaks.watch(hostile.server)
    hostile.server.bind("displaced@example.org", ALICE)
    for allowed in itertools.count():
        gone = hostile.evil.bind(f"gone{allowed}@example.org", ALICE)
        hostile.evil.bind(f"stays{allowed}@example.org", BOB)
        hostile.evil.bind("not canonical", BOB)
        hostile.evil.bind("displaced@example.org", f"@u{allowed}:hs.test", ts=hostile.federation.clock.now_ms() + 1000)
        hostile.evil.erase(gone)
        size, before = hostile.server.state(EVIL).size, hostile.bindings()
        hostile.federation.clock.advance(31)
        follow = hostile.server.driver.services.peering.follow[EVIL]
        breaks.after(allowed)
        try:
            follow()
        except error:
            failures += 1
        else:
            break
        finally:
            breaks.after(None)
        after = hostile.server.state(EVIL).size, hostile.bindings(), len(hostile.server.quarantine())
        whole = hostile.server.state(EVIL).size > size
        assert after[2] == (size // 5) + whole
        assert whole or after[1] == before
        replace(follow)()
        assert hostile.server.state(EVIL).size == size + 5
        assert len(hostile.server.quarantine()) == size // 5 + 1
        found = hostile.server.lookup(f"gone{allowed}@example.org", f"stays{allowed}@example.org", "displaced@example.org")
        assert found == {f"stays{allowed}@example.org": BOB, "displaced@example.org": f"@u{allowed}:hs.test"}
    assert failures >= 10


@pytest.mark.parametrize("entries", [3, 1100])
def test_followers_that_race_take_over_each_entry_once(hostile: Hostile, entries: int) -> None:
    hostile.server.bind(ONE, ALICE)
    sent = len(hostile.server.driver.mailbox.mails)
    for number in range(entries - 1):
        hostile.evil.put(b"entry %d" % number, None)
    hostile.evil.bind(ONE, BOB, ts=hostile.federation.clock.now_ms() + 1000)
    follow = hostile.server.driver.services.peering.follow[EVIL]
    barrier = Barrier(4)

    def race() -> None:
        barrier.wait()
        replace(follow)()

    threads = [Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hostile.look()
    state = hostile.server.state(EVIL)
    assert (state.size, state.error, state.is_stopped) == (entries, None, False)
    assert len(hostile.server.quarantine()) == entries - 1
    assert hostile.server.lookup(ONE) == {ONE: BOB}
    hostile.server.driver.deliver()
    assert len(hostile.server.driver.mailbox.mails) == sent + 1


def test_a_follower_that_comes_late_with_what_another_has_taken_over_changes_nothing(hostile: Hostile) -> None:
    follow = hostile.server.driver.services.peering.follow[EVIL]
    hostile.evil.bind(ONE, ALICE)

    def overtake(checkpoint: bytes) -> bytes:
        hostile.evil.lies.clear()
        replace(follow)()
        hostile.evil.unbind(ONE, ALICE)
        replace(follow)()
        hostile.look()
        return checkpoint

    hostile.evil.lies["checkpoint"] = overtake
    hostile.look()
    assert hostile.server.lookup(ONE) == {}
    state = hostile.server.state(EVIL)
    assert (state.size, state.error, state.is_stopped) == (2, None, False)


@dataclass(frozen=True)
class Between:
    """A database before each of whose transactions somebody else does something."""

    database: Database
    act: Callable[[], None]

    def begin(self) -> AbstractContextManager[Connection]:
        self.act()
        return self.database.begin()


def test_a_resync_while_a_worker_follows_loses_nothing(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.bind(TWO, BOB)
    hostile.look()
    services = hostile.server.driver.services
    database: Any = Between(services.database, services.peering.follow[EVIL])
    replace(services.peering, database=database).resync(EVIL)
    hostile.look()
    assert hostile.server.lookup(ONE, TWO) == {ONE: ALICE, TWO: BOB}
    assert hostile.server.state(EVIL).error is None


def test_a_resync_that_is_cut_short_keeps_the_peer_stopped_until_it_is_done_again(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.look()
    services, transactions = hostile.server.driver.services, itertools.count()

    def die() -> None:
        if next(transactions) == 2:
            raise Killed

    database: Any = Between(services.database, die)
    with pytest.raises(Killed):
        replace(services.peering, database=database).resync(EVIL)
    assert hostile.look().is_stopped
    services.peering.resync(EVIL)
    hostile.look()
    assert hostile.server.lookup(ONE) == {ONE: ALICE}
