"""Whatever happens and in whatever order: once everybody hears everybody, all servers give the same answers."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.driver import OWN
from tests.usecases.replication.conftest import Federate, Federation, Server, copied, federating, peer_section

NAMES = ("a.test", "b.test", "c.test")
LINKS = (("a.test", "b.test"), ("a.test", "c.test"), ("b.test", "c.test"))
USERS = ("@alice:hs.test", "@bob:hs.test", "@carol:other.test")
ADDRESSES = ("one@example.org", "two@example.org")


class Bind(NamedTuple):
    server: str
    user: str
    address: str


class Unbind(NamedTuple):
    server: str
    user: str
    address: str


class Erase(NamedTuple):
    server: str
    user: str


class Step(NamedTuple):
    """The clock is set; never as far back in all as peers' clocks may be apart."""

    seconds: int


class Cut(NamedTuple):
    link: tuple[str, str]


class Heal(NamedTuple):
    link: tuple[str, str]


class Restart(NamedTuple):
    server: str


class Work(NamedTuple):
    server: str


class Resync(NamedTuple):
    server: str
    link: tuple[str, str]


Event = Bind | Unbind | Erase | Step | Cut | Heal | Restart | Work | Resync

SERVERS, PEOPLE = st.sampled_from(NAMES), st.sampled_from(USERS)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Bind, SERVERS, PEOPLE, st.sampled_from(ADDRESSES)),
    st.builds(Bind, SERVERS, PEOPLE, st.sampled_from(ADDRESSES)),
    st.builds(Unbind, SERVERS, PEOPLE, st.sampled_from(ADDRESSES)),
    st.builds(Erase, SERVERS, PEOPLE),
    st.builds(Work, SERVERS),
    st.builds(Work, SERVERS),
    st.builds(Step, st.sampled_from([-10, -1, 1, 31])),
    st.builds(Cut, st.sampled_from(LINKS)),
    st.builds(Heal, st.sampled_from(LINKS)),
    st.builds(Restart, SERVERS),
    st.builds(Resync, SERVERS, st.sampled_from(LINKS)),
)


@dataclass
class Model:
    """What the rules say: one place for each origin and address, and the claim of greatest ``(ts, origin)`` counts."""

    claims: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    def bind(self, event: Bind, ts: int) -> None:
        self.claims[event.server, event.address] = ts, event.user

    def unbind(self, event: Unbind) -> bool:
        """Take a claim back: whether there was one."""
        is_there = self.claims.get((event.server, event.address), (0, ""))[1] == event.user
        if is_there:
            del self.claims[event.server, event.address]
        return is_there

    def erase(self, event: Erase) -> None:
        self.claims = {
            place: claim for place, claim in self.claims.items() if (place[0], claim[1]) != (event.server, event.user)
        }

    def answers(self, asked: str, prefer: str) -> dict[str, str]:
        found: dict[str, tuple[bool, int, str, str]] = {}
        for (origin, address), (ts, user) in self.claims.items():
            weight = prefer == "local" and origin == asked, ts, origin, user
            found[address] = max(found.get(address, weight), weight)
        return {address: user for address, (_, _, _, user) in found.items()}


@dataclass
class Story:
    """A federation, and what it should be."""

    federation: Federation
    prefer: str
    model: Model = field(default_factory=Model)

    def tell(self, event: Event) -> None:
        network = self.federation.network
        match event:
            case Bind():
                self._bind(event)
            case Unbind(server, user, address):
                removed = self._request(server, user, "DELETE", f"{OWN}/bindings/email/{address}")
                assert removed.status_code == (200 if self.model.unbind(event) else 404), removed.text
            case Erase(server, user):
                assert self._request(server, user, "POST", f"{OWN}/account/erase").status_code == 200
                self.model.erase(event)
            case Step(seconds):
                self.federation.clock.advance(seconds)
            case Cut(link):
                network.cut.add(frozenset(link))
            case Heal(link):
                network.cut.discard(frozenset(link))
            case Restart(server):
                launch(self.federation, server, self.prefer)
            case Work(server):
                self._server(server).work()
            case Resync(server, link):
                peer = link[0] if link[0] != server else link[1]
                self._server(server).driver.services.peering.resync(peer)

    def _bind(self, event: Bind) -> None:
        driver = self._server(event.server).driver
        token = driver.register(event.user)
        answer = driver.bind(token, driver.validate(token, event.address), event.user)
        assert answer.status_code == 200, answer.text
        self.model.bind(event, answer.get_json()["ts"])
        # Whoever proves an address sees it bound, whatever other clocks have said.
        assert self._server(event.server).lookup(event.address) == {event.address: event.user}

    def _request(self, server: str, user: str, method: str, path: str) -> Any:
        driver = self._server(server).driver
        return driver.request(method, path, driver.register(user))

    def _server(self, name: str) -> Server:
        return self.federation.servers[name]

    def end(self) -> None:
        """All hear all: their answers are those of the model, nothing was put aside, and nobody was stopped."""
        self.federation.network.cut.clear()
        self.federation.settle()
        for name, server in self.federation.servers.items():
            assert server.lookup(*ADDRESSES) == self.model.answers(name, self.prefer), name
            assert server.quarantine() == []
            for other in self.federation.servers.values():
                if other is not server:
                    state = server.state(other.name)
                    assert (state.size, state.error, state.is_stopped) == (other.log_size(), None, False)


def launch(federation: Federation, name: str, prefer: str) -> None:
    peers = [peer_section(other) for other in NAMES if other != name]
    federation.launch(name, peers=peers, replication={"prefer": prefer}, limits={"enabled": False})


def play(federate: Federate, events: list[Event], prefer: str = "newest") -> None:
    federation = federate("a", "b", "c", replication={"prefer": prefer}, limits={"enabled": False})
    story = Story(federation, prefer)
    for event in events:
        story.tell(event)
    story.end()


def copies(template: Path, directory: Path) -> Callable[[str], str]:
    """Databases of servers, by name."""

    def database_of(name: str) -> str:
        path = directory / f"{name}.db"
        return f"sqlite:///{path}" if path.exists() else copied(template, path)

    return database_of


A, B, C = NAMES
ALICE, BOB, CAROL = USERS
ONE, TWO = ADDRESSES
WORK = [Work(A), Work(B), Work(C)]
SCHEDULES: dict[str, list[Event]] = {
    "two servers give one address to two users": [Bind(A, ALICE, ONE), Bind(B, BOB, ONE)],
    "in one millisecond the greater name counts": [Bind(B, BOB, ONE), Bind(A, ALICE, ONE), Bind(C, CAROL, ONE)],
    "a claim follows one that is known, on a clock that was set back": [
        Bind(A, ALICE, ONE),
        *WORK,
        *WORK,
        Step(-10),
        Bind(B, BOB, ONE),
        Step(-10),
        Bind(A, CAROL, ONE),
    ],
    "an unbind takes back one origin's claim": [
        Bind(A, ALICE, ONE),
        *WORK,
        Bind(B, ALICE, ONE),
        *WORK,
        Unbind(B, ALICE, ONE),
    ],
    "an address moves to another user, who is erased": [
        Bind(A, BOB, ONE),
        Work(A),
        Work(B),
        Bind(A, ALICE, ONE),
        Erase(A, ALICE),
    ],
    "an address moves to another user, and the first is erased": [
        Bind(A, BOB, ONE),
        Work(A),
        Work(B),
        Bind(A, ALICE, ONE),
        Erase(A, BOB),
    ],
    "a user is erased and comes back": [
        Bind(A, ALICE, ONE),
        *WORK,
        Erase(A, ALICE),
        Bind(A, ALICE, ONE),
        Bind(A, ALICE, TWO),
        Work(C),
    ],
    "a server is cut off while others go on": [
        Bind(A, ALICE, ONE),
        *WORK,
        Cut(LINKS[0]),
        Unbind(A, ALICE, ONE),
        Bind(A, BOB, ONE),
        Bind(B, CAROL, ONE),
        *WORK,
        Restart(B),
        Work(B),
        Resync(C, LINKS[1]),
        Step(-10),
    ],
    "a clock is set back after a failure": [Bind(A, ALICE, ONE), Cut(LINKS[0]), Step(31), *WORK, *[Step(-10)] * 20],
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_after_these_schedules_all_servers_answer_alike(federate: Federate, schedule: str) -> None:
    play(federate, SCHEDULES[schedule])


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_after_these_schedules_a_server_that_prefers_its_own_answers_so(federate: Federate, schedule: str) -> None:
    play(federate, SCHEDULES[schedule], "local")


@given(st.lists(EVENTS, max_size=20), st.sampled_from(["newest", "newest", "local"]))
@example(SCHEDULES["a server is cut off while others go on"], "local")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_after_any_schedule_all_servers_answer_alike(migrated_sqlite: Path, events: list[Event], prefer: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        parent = Path(directory)
        with federating(parent, copies(migrated_sqlite, parent)) as federate:
            play(federate, events, prefer)
