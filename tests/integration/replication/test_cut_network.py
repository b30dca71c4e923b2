"""Two servers whose network is cut, in every way that networks are, go on alone and agree again when it is mended."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count

import pytest

from tests.fakes.cable import Cable
from tests.integration.replication.conftest import Node, Surroundings, configure, wait_until
from tests.usecases.replication.conftest import peer_section

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
# A request that is not answered is given up after half of that.
SILENCE_IS_NOTICED_WITHIN_S = 70.0


@dataclass
class Pair:
    """Each follows the other through a cable of its own; ``found`` is what lookups have to answer at both."""

    nodes: tuple[Node, Node]
    cables: tuple[Cable, Cable]
    found: dict[str, str]
    numbers: Iterator[int]

    def bind_at_both(self) -> None:
        """Each vouches for an address, and answers it at once, whatever the network does."""
        for node in self.nodes:
            number = next(self.numbers)
            email, localpart = f"u{number}@example.org", f"u{number}"
            node.bind(localpart, email)
            self.found[email] = f"@{localpart}:{node.homeserver.name}"
            assert node.lookup(email) == {email: self.found[email]}

    def errors(self) -> list[str | None]:
        """What went wrong last with the other one."""
        a, b = self.nodes
        return [a.error(b.name), b.error(a.name)]

    def followed(self) -> list[int]:
        a, b = self.nodes
        return [a.followed(b.name), b.followed(a.name)]

    def agree(self) -> bool:
        """Whether both answer everything, and have taken over each other's whole logs."""
        a, b = self.nodes
        is_found = all(node.lookup(*self.found) == self.found for node in self.nodes)
        return is_found and self.followed() == [b.log_size(), a.log_size()] and self.errors() == [None, None]

    def mend(self) -> None:
        """Mend both cables, and wait until the servers agree on everything that either has ever vouched for."""
        for cable in self.cables:
            cable.mend()
        wait_until(self.agree, 60)
        for node, other in (self.nodes, reversed(self.nodes)):
            origin = node.count("SELECT count(*) FROM bindings WHERE origin = :name", name=other.name)
            assert origin == other.log_size()
            assert node.count("SELECT count(*) FROM quarantine") == 0
            assert node.count("SELECT count(*) FROM peers WHERE is_stopped OR contradictions > 0") == 0


@pytest.fixture(scope="module")
def pair(surroundings: Surroundings) -> Iterator[Pair]:
    nodes = surroundings.node("a.test"), surroundings.node("b.test")
    with ExitStack() as stack:
        to_a, to_b = (stack.enter_context(Cable(node.server.port)) for node in nodes)
        for node, other, cable in ((nodes[0], nodes[1], to_b), (nodes[1], nodes[0], to_a)):
            configure(node.server, [peer_section(other.name, base_url=cable.url)])
            stack.enter_context(node.server)
        pair = Pair(nodes, (to_a, to_b), {}, count())
        pair.bind_at_both()
        pair.mend()
        yield pair
        for node in nodes:
            node.database.close()


def test_while_connections_are_reset_both_go_on_and_agree_afterwards(pair: Pair) -> None:
    before = pair.followed()
    for cable in pair.cables:
        cable.reset()
    pair.bind_at_both()
    wait_until(lambda: all("unreachable" in (error or "") for error in pair.errors()))
    pair.bind_at_both()
    assert pair.followed() == before
    pair.mend()


def test_while_nothing_is_answered_both_go_on_and_agree_afterwards(pair: Pair) -> None:
    before = pair.followed()
    for cable in pair.cables:
        cable.silence()
    pair.bind_at_both()
    wait_until(lambda: all("timeout" in (error or "") for error in pair.errors()), SILENCE_IS_NOTICED_WITHIN_S)
    pair.bind_at_both()
    assert pair.followed() == before
    pair.mend()


def test_what_was_asked_into_a_short_silence_is_answered_after_it(pair: Pair) -> None:
    before = pair.followed()
    for cable in pair.cables:
        cable.silence()
    pair.bind_at_both()
    assert pair.followed() == before
    pair.mend()


def test_one_that_is_cut_off_from_the_other_is_followed_all_the_same(pair: Pair) -> None:
    a, b = pair.nodes
    to_a, _ = pair.cables
    to_a.reset()
    pair.bind_at_both()
    wait_until(lambda: a.followed(b.name) == b.log_size())
    wait_until(lambda: "unreachable" in (b.error(a.name) or ""))
    assert a.error(b.name) is None
    assert b.followed(a.name) < a.log_size()
    pair.mend()


@pytest.mark.parametrize("answer_bytes", [1, 300, 700])
def test_answers_that_are_cut_off_in_the_middle_change_nothing_until_they_come_whole(pair: Pair, answer_bytes: int) -> None:
    before = pair.followed()
    for cable in pair.cables:
        cable.tear_after(answer_bytes)
    for _ in range(3):
        pair.bind_at_both()
    wait_until(lambda: all("unreachable" in (error or "") for error in pair.errors()))
    assert pair.followed() == before
    pair.mend()
