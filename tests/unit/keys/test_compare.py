"""Whether two servers say the same of one chain, and a homeserver the same as the chain."""

from typing import Any

import pytest

from sydent_py.keys.chain import RESET_WAIT_MS
from sydent_py.keys.compare import Comparison, Match, Verdict, compare, compare_with_homeserver
from tests.fakes.key_log import START_MS, KeyLog
from tests.fakes.key_owner import KeyOwner, cross_signing_key, public, signed
from tests.unit.keys.conftest import ALICE, NEW, OLD, THIRD, World


@pytest.fixture
def long() -> World:
    world = World().state("publish", OLD).state("rotate", NEW, OLD, NEW).state("reset", THIRD)
    return world.state("cancel", NEW).state("rotate", THIRD, NEW, THIRD)


def short(world: World, count: int) -> World:
    """What a server shows that has the first statements alone."""
    return World(world.log, world.owner, world.now_ms, world.places[:count])


def compared(here: World, there: World) -> Comparison:
    found = compare(here.verify_history().entries, there.verify_history().entries)
    back = compare(there.verify_history().entries, here.verify_history().entries)
    mirrored = {Verdict.HERE_IS_BEHIND: Verdict.THERE_IS_BEHIND, Verdict.THERE_IS_BEHIND: Verdict.HERE_IS_BEHIND}
    assert back.verdict is mirrored.get(found.verdict, found.verdict)
    assert [str(each.note) for each in back.evidence] == [str(each.note) for each in found.evidence[::-1]]
    assert found.is_agreement is (not found.evidence)
    assert found.message
    return found


def test_two_servers_say_the_same(long: World) -> None:
    assert compared(long, long).verdict is Verdict.SAME


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_one_server_is_behind(long: World, count: int) -> None:
    assert compared(short(long, count), long).verdict is Verdict.HERE_IS_BEHIND


@pytest.mark.parametrize("shared", [1, 2, 4])
def test_a_fork_is_a_contradiction(long: World, shared: int) -> None:
    fork = long.fork(shared)
    fork.log.fill(1)
    op, master, signers = {1: ("reset", NEW, ()), 2: ("reset", OLD, ()), 4: ("rotate", OLD, (NEW, OLD))}[shared]
    fork.state(op, master, *signers)
    found = compared(long, fork)
    assert found.verdict is Verdict.CONTRADICTION
    assert [each.statement.seq for each in found.evidence] == [shared + 1] * 2
    assert found.evidence[0].commitment != found.evidence[1].commitment


def test_a_fork_at_the_same_size_is_shown_by_two_trees(long: World) -> None:
    fork = long.fork(4).state("rotate", OLD, NEW, OLD)
    found = compared(long, fork)
    assert found.verdict is Verdict.CONTRADICTION
    assert "two different trees" in found.message
    assert len({each.checkpoint.size for each in found.evidence}) == 1


def test_one_statement_twice_in_a_log_is_a_contradiction() -> None:
    first = World().state("publish", OLD).state("rotate", NEW, OLD, NEW)
    again = World(first.log, first.owner, first.now_ms, first.places[:1])
    again.places.append(first.log.append(first.owner.made[1], START_MS))
    assert compared(first, again).verdict is Verdict.CONTRADICTION


def test_two_chains_one_after_the_other_are_for_the_user_to_explain(long: World) -> None:
    begun = World(long.log, KeyOwner(ALICE), long.now_ms).wait(RESET_WAIT_MS).state("publish", NEW).state("reset", OLD)
    long.now_ms = begun.now_ms
    found = compared(long, begun)
    assert found.verdict is Verdict.REPLACED
    assert "ask the user" in found.message
    assert [each.statement.seq for each in found.evidence] == [1, 1]


def test_two_chains_among_each_other_are_a_contradiction() -> None:
    one = World().state("publish", OLD)
    other = World(one.log, KeyOwner(ALICE)).state("publish", NEW)
    one.state("rotate", THIRD, OLD, THIRD)
    assert compared(one, other).verdict is Verdict.CONTRADICTION


def test_answers_are_compared_as_far_as_they_go(long: World) -> None:
    def shown(*places: int) -> Any:
        return short(long, places[-1] + 1).verify(long.answer(*places)).entries

    assert compare(shown(0), shown(0)).verdict is Verdict.SAME
    assert compare(shown(0), shown(1)).verdict is Verdict.HERE_IS_BEHIND
    assert compare(shown(4), shown(0)).verdict is Verdict.THERE_IS_BEHIND
    assert compare(shown(1, 2), shown(1)).verdict is Verdict.THERE_IS_BEHIND
    assert compare(shown(1), long.verify_history().entries).verdict is Verdict.HERE_IS_BEHIND


def test_a_next_statement_that_does_not_follow_is_no_agreement(long: World) -> None:
    fork = long.fork(1).state("rotate", THIRD, OLD, THIRD)
    fork.log.fill(20)
    fork.state("rotate", NEW, THIRD, NEW)
    found = compare(long.verify(long.answer(1)).entries, fork.verify(fork.answer(2)).entries)
    assert not found.is_agreement


def test_what_is_of_different_users_or_logs_is_not_compared(long: World) -> None:
    elsewhere = World(KeyLog("b.test"), KeyOwner(ALICE, "b.test/log")).state("publish", OLD)
    with pytest.raises(ValueError, match="one user"):
        compare(long.verify_history().entries, elsewhere.verify_history().entries)


def keys_query(served: Any) -> Any:
    return {"device_keys": {}, "failures": {}, "master_keys": {ALICE: served}, "self_signing_keys": {}}


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (keys_query(cross_signing_key(ALICE, OLD)), Match.MATCH),
        (keys_query(signed(cross_signing_key(ALICE, OLD), ALICE, THIRD)), Match.MATCH),
        (keys_query(cross_signing_key(ALICE, NEW)), Match.PENDING),
        (keys_query(cross_signing_key(ALICE, THIRD)), Match.MISMATCH),
        (keys_query(cross_signing_key("@bob:hs.test", OLD)), Match.MISMATCH),
        (keys_query(cross_signing_key(ALICE, OLD, "self_signing")), Match.MISMATCH),
        (keys_query({**cross_signing_key(ALICE, OLD), "keys": {f"ed25519:{public(THIRD)}": public(OLD)}}), Match.MISMATCH),
        (keys_query("x"), Match.MISMATCH),
        (keys_query(None), Match.NOT_SERVED),
        ({"master_keys": {"@bob:hs.test": cross_signing_key(ALICE, OLD)}}, Match.NOT_SERVED),
        ({"master_keys": []}, Match.NOT_SERVED),
        ({}, Match.NOT_SERVED),
        (None, Match.NOT_SERVED),
        (b"x", Match.NOT_SERVED),
    ],
)
def test_a_homeservers_key_is_compared(answer: Any, match: Match) -> None:
    world = World().state("publish", OLD).state("reset", NEW)
    assert compare_with_homeserver(world.verify(world.answer(0, 1)), answer, ALICE) is match
    assert compare_with_homeserver(None, answer, ALICE) is Match.UNPUBLISHED
