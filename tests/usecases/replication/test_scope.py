"""After a change of what a peer may speak for, its log is read from the first entry again, by itself."""

from typing import Any

import pytest

from sydent_py.replication import anew
from tests.usecases.replication.conftest import EVIL, Hostile, peer_section

ALICE, BOB = "@alice:hs.test", "@bob:other.test"
ONE, TWO = "one@example.org", "two@example.org"


def may_speak_for(hostile: Hostile, **scope: Any) -> None:
    hostile.federation.launch("a.test", peers=[peer_section(EVIL, scope=scope)])


def begin_anew(hostile: Hostile) -> None:
    """Let the worker find that the scope has changed."""
    hostile.federation.clock.advance(31)
    hostile.server.driver.services.peering.follow[EVIL]()


@pytest.fixture
def narrow(hostile: Hostile) -> Hostile:
    """A peer one of whose entries is out of its scope."""
    may_speak_for(hostile, homeservers=["hs.test"])
    hostile.evil.bind(ONE, ALICE)
    hostile.evil.bind(TWO, BOB)
    assert hostile.look().size == 2
    assert hostile.server.lookup(ONE, TWO) == {ONE: ALICE}
    assert [index for _, index, _ in hostile.server.quarantine()] == [1]
    return hostile


def test_what_was_put_aside_is_taken_over_once_the_peer_may_say_it(narrow: Hostile) -> None:
    may_speak_for(narrow, homeservers=["hs.test", "other.test"])
    begin_anew(narrow)
    assert (narrow.server.lookup(ONE, TWO), narrow.server.quarantine()) == ({}, [])
    assert narrow.look().size == 2
    assert narrow.server.lookup(ONE, TWO) == {ONE: ALICE, TWO: BOB}
    assert narrow.server.quarantine() == []


def test_what_a_peer_may_say_no_more_is_gone(narrow: Hostile) -> None:
    narrow.server.bind("local@example.org", "@local:hs.test")
    may_speak_for(narrow, homeservers=["other.test"])
    begin_anew(narrow)
    assert narrow.look().size == 2
    assert narrow.server.lookup(ONE, TWO, "local@example.org") == {TWO: BOB, "local@example.org": "@local:hs.test"}
    assert [index for _, index, _ in narrow.server.quarantine()] == [0]


def test_with_the_same_scope_in_the_configuration_nothing_is_read_again(narrow: Hostile) -> None:
    may_speak_for(narrow, homeservers=["hs.test"])
    narrow.evil.asked.clear()
    narrow.look()
    assert narrow.evil.asked == ["checkpoint"]


def test_what_was_cut_short_is_begun_again_by_itself(narrow: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    may_speak_for(narrow, homeservers=["hs.test", "other.test"])
    register = narrow.server.driver.services.peering.registers.addresses

    class Killed(BaseException):
        """The process ends here."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(register), "forget_origin", die)
        with pytest.raises(Killed):
            begin_anew(narrow)
    assert narrow.server.state(EVIL).error == anew.UNFINISHED
    begin_anew(narrow)
    assert narrow.look().size == 2
    assert narrow.server.lookup(ONE, TWO) == {ONE: ALICE, TWO: BOB}


def test_a_stopped_peer_stays_stopped_with_what_it_said_and_the_evidence(narrow: Hostile) -> None:
    narrow.evil.entries.clear()
    narrow.evil.given.clear()
    narrow.evil.bind(ONE, "@mallory:hs.test")
    narrow.evil.bind(TWO, BOB)
    assert narrow.look().is_stopped
    evidence = narrow.evidence()
    may_speak_for(narrow)
    state = narrow.look()
    assert (state.is_stopped, "forked" in state.error, len(evidence)) == (True, True, 2)
    assert narrow.evidence() == evidence
    assert narrow.server.lookup(ONE) == {ONE: ALICE}
