"""A stopped peer is followed on from where it was stopped when an operator says so, and nothing of the evidence is lost."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from sydent_py.replication import models
from sydent_py.replication.anew import UNFINISHED
from sydent_py.replication.check import Finding
from sydent_py.replication.follow import CONTRADICTIONS, SHRUNK_FOR_MS
from sydent_py.replication.resume import NotResumed
from tests.usecases.replication.conftest import EVIL, Federate, Federation, Hostile, peer_section
from tests.usecases.replication.test_commands import Run

Log = tuple[list[bytes], list[Any]]
ALICE, BOB = "@alice:hs.test", "@bob:hs.test"
ONE, TWO, THREE = "one@example.org", "two@example.org", "three@example.org"


def resume(hostile: Hostile, name: str = EVIL) -> None:
    hostile.server.driver.services.peering.resume(name)


def replace_log(hostile: Hostile, user_id: str) -> Log:
    """Have the peer show another log of the same size: the first one."""
    evil = hostile.evil
    before = list(evil.entries), list(evil.given)
    evil.entries.clear()
    evil.given.clear()
    for _ in before[0]:
        evil.bind(ONE, user_id)
    return before


def mend(hostile: Hostile, log: Log) -> None:
    hostile.evil.entries[:], hostile.evil.given[:] = log


@pytest.fixture
def forked(hostile: Hostile) -> Log:
    """The peer was stopped for a fork: the log that it had shown first."""
    hostile.evil.bind(ONE, ALICE)
    hostile.look()
    log = replace_log(hostile, BOB)
    assert "forked" in hostile.look().error
    return log


def findings(hostile: Hostile) -> dict[str, Finding]:
    return {each.subject: each for each in hostile.server.driver.services.peering.check[EVIL]()}


def test_a_peer_that_has_mended_itself_is_followed_on_at_once_and_nothing_is_read_again(
    hostile: Hostile, forked: Log
) -> None:
    mend(hostile, forked)
    hostile.evil.bind(TWO, BOB)
    hostile.evil.asked.clear()
    resume(hostile)
    assert hostile.server.lookup(ONE) == {ONE: ALICE}
    state = hostile.look(after_s=0)
    assert (state.size, state.error, state.is_stopped) == (2, None, False)
    assert hostile.server.lookup(ONE, TWO) == {ONE: ALICE, TWO: BOB}
    hostile.evil.bind(THREE, BOB)
    assert hostile.look().size == 3


@pytest.mark.usefixtures("forked")
def test_a_peer_that_is_still_forked_is_stopped_again_at_the_first_look(hostile: Hostile) -> None:
    for _ in range(3):
        resume(hostile)
        state = hostile.look(after_s=0)
        assert (state.size, state.is_stopped, "forked" in state.error) == (1, True, True)
        assert hostile.server.lookup(ONE) == {ONE: ALICE}
    assert len(hostile.evidence()) == 2


def test_a_log_that_is_still_shorter_is_stopped_again_at_the_first_look(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.bind(TWO, ALICE)
    hostile.look()
    last = hostile.evil.entries.pop()
    hostile.look()
    hostile.look(after_s=SHRUNK_FOR_MS / 1000)
    assert not hostile.look().is_stopped
    assert hostile.look().is_stopped
    resume(hostile)
    assert hostile.look(after_s=0).is_stopped
    hostile.evil.entries.append(last)
    resume(hostile)
    state = hostile.look(after_s=0)
    assert (state.is_stopped, state.shrunk_since_ms, state.error) == (False, None, None)


def test_a_false_payload_stops_a_resumed_peer_again_at_the_first_look(hostile: Hostile) -> None:
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.lies["payloads"] = lambda given: [7] * len(given)
    for _ in range(CONTRADICTIONS):
        hostile.look()
    resume(hostile)
    assert hostile.look(after_s=0).is_stopped
    hostile.evil.lies.clear()
    resume(hostile)
    state = hostile.look(after_s=0)
    assert (state.size, state.is_stopped, state.contradictions) == (1, False, 0)


def test_the_evidence_stays_on_record_and_more_is_put_beside_it(hostile: Hostile, forked: Log) -> None:
    before = [str(note) for note in hostile.evidence()]
    assert "evidence" not in findings(hostile)
    mend(hostile, forked)
    resume(hostile)
    hostile.look()
    assert [str(note) for note in hostile.evidence()] == before
    shown = findings(hostile)
    assert (shown["following"].verdict, shown["evidence"].verdict) == ("ok", "warning")
    assert all(note in shown["evidence"].evidence[0] for note in before)
    replace_log(hostile, "@carol:hs.test")
    third = hostile.evil.checkpoint()
    assert hostile.look().is_stopped
    assert [str(note) for note in hostile.evidence()] == [*before, third.decode()]


def test_the_evidence_stays_when_the_log_is_read_anew_for_another_scope(hostile: Hostile, forked: Log) -> None:
    before = [str(note) for note in hostile.evidence()]
    mend(hostile, forked)
    resume(hostile)
    hostile.look()
    hostile.federation.launch("a.test", peers=[peer_section(EVIL, scope={"homeservers": ["other.test"]})])
    hostile.look()
    assert hostile.look().size == 1
    assert hostile.server.lookup(ONE) == {}
    assert [str(note) for note in hostile.evidence()] == before


def test_a_resumed_log_is_cosigned_on_if_it_continues_what_was_cosigned(hostile: Hostile, forked: Log) -> None:
    mend(hostile, forked)
    hostile.evil.bind(TWO, BOB)
    resume(hostile)
    hostile.look()
    [standing] = hostile.server.driver.services.peering.status.standings()
    assert standing.cosigned_entries == 2


def test_a_peer_that_was_not_stopped_is_not_resumed(hostile: Hostile) -> None:
    with pytest.raises(NotResumed, match="was not stopped"):
        resume(hostile)
    hostile.look()
    with pytest.raises(NotResumed, match="was not stopped"):
        resume(hostile)
    hostile.federation.launch("a.test", peers=[peer_section(EVIL, direction="serve")])
    with pytest.raises(NotResumed, match='direction = "serve"'):
        resume(hostile)


@pytest.mark.usefixtures("forked")
def test_it_is_asked_at_once_however_lately_it_was_asked(hostile: Hostile) -> None:
    with hostile.server.driver.services.database.begin() as db:
        db.execute(text("UPDATE peers SET checked_at_ms = :now_ms"), {"now_ms": hostile.federation.clock.now_ms()})
    hostile.evil.asked.clear()
    resume(hostile)
    hostile.look(after_s=0)
    assert hostile.evil.asked == ["checkpoint"]


@pytest.mark.usefixtures("forked")
def test_a_peer_that_is_stopped_for_another_reason_by_now_is_not_resumed(hostile: Hostile) -> None:
    judged = hostile.server.state(EVIL).error
    with hostile.server.driver.services.database.begin() as db:
        models.suspend(db, EVIL, UNFINISHED)
        assert not models.resume(db, EVIL, judged)
    assert hostile.server.state(EVIL).is_stopped


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"scope": {"homeservers": ["hs.test"]}}, "its scope was changed"),
        ({"log_key": peer_section("other.test")["log_key"]}, "not that of the log_key"),
    ],
)
@pytest.mark.usefixtures("forked")
def test_where_only_beginning_anew_will_do_it_says_so(hostile: Hostile, changed: dict[str, Any], reason: str) -> None:
    hostile.federation.launch("a.test", peers=[{**peer_section(EVIL), **changed}])
    with pytest.raises(NotResumed, match=f"{reason}.*sydent-py peers resync {EVIL}"):
        resume(hostile)
    assert hostile.server.state(EVIL).is_stopped


def test_a_resync_of_a_stopped_peer_that_was_cut_short_is_not_taken_for_what_it_was_stopped_for(
    hostile: Hostile, forked: Log
) -> None:
    peering = hostile.server.driver.services.peering

    class Killed(BaseException):
        """The process ends here."""

    def die(*_: object) -> None:
        raise Killed

    mend(hostile, forked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(peering.registers.addresses), "forget_origin", die)
        with pytest.raises(Killed):
            peering.resync(EVIL)
    assert hostile.server.state(EVIL).error == UNFINISHED
    with pytest.raises(NotResumed, match=f"Go on with that: sydent-py peers resync {EVIL}"):
        resume(hostile)
    peering.resync(EVIL)
    hostile.look()
    assert hostile.server.lookup(ONE) == {ONE: ALICE}


# The command


@pytest.fixture
def stopped(federate: Federate) -> Federation:
    """A server whose peer a.test is stopped."""
    federation = federate("a", "b")
    federation["a"].bind(ONE, ALICE)
    federation.settle()
    with federation["b"].driver.services.database.begin() as db:
        db.execute(text("UPDATE peers SET is_stopped = true, error = :error, evidence = :notes"), NOTED)
    return federation


NOTED = {"error": "it was for\x1bked", "notes": b"a.test/log\n1\n"}


def test_the_command_asks_first_and_goes_on_if_that_is_confirmed(stopped: Federation, run: Run) -> None:
    asked = run(stopped["b"], "resume", "a.test")
    assert asked.exit_code == 2
    assert "a.test was stopped: it was for\\x1bked. 'sydent-py peers check a.test' shows the evidence." in asked.stderr
    assert "--yes" in asked.stderr
    assert stopped["b"].state("a.test").is_stopped
    resumed = run(stopped["b"], "resume", "a.test", "--yes")
    assert resumed.exit_code == 0
    assert "a.test is followed again, from entry 1 on. The evidence stays on record." in resumed.stdout
    stopped["b"].work()
    state = stopped["b"].state("a.test")
    assert (state.size, state.is_stopped, bytes(state.evidence)) == (1, False, NOTED["notes"])
    [peer] = json.loads(run(stopped["b"], "list", "--json").stdout)["peers"]
    assert peer["state"] == "following"


def test_the_command_refuses_a_peer_that_was_not_stopped_without_asking(stopped: Federation, run: Run) -> None:
    refused = run(stopped["a"], "resume", "b.test")
    assert refused.exit_code == 1
    assert "b.test is not resumed: it was not stopped." in refused.stderr
