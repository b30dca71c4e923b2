"""A server whose database cannot grow takes over nothing by halves, goes on with what it can, and catches up when there is room."""

import itertools

import pytest
from sqlalchemy import text

from sydent_py.federation.mutual_tls import Received
from sydent_py.replication import sydent_v1
from sydent_py.replication.sydent_receive import PushEndpoint
from tests.conftest import Launch
from tests.driver import refusal
from tests.fakes.disk import Disk
from tests.fakes.sydent import FakeSydent, body_of
from tests.usecases.replication.conftest import EVIL, Hostile, Server, peer_section

pytestmark = pytest.mark.parametrize("engine", ["sqlite"])
ALICE, BOB = "@alice:hs.test", "@bob:hs.test"
ENTRIES = 1500
FULL = "this server's database did not take it over: database or disk is full"


def count(server: Server, table: str) -> int:
    with server.driver.services.database.autocommit() as db:
        return int(db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@pytest.fixture
def disk(hostile: Hostile) -> Disk:
    hostile.federation.launch("a.test", peers=[peer_section(EVIL)], limits={"enabled": False})
    return Disk(hostile.server.driver.services.database)


def bind_many(hostile: Hostile) -> list[str]:
    """Have the peer vouch for so many that a page of them is hundreds of the database's."""
    emails = [f"u{number}@example.org" for number in range(ENTRIES)]
    for email in emails:
        hostile.evil.bind(email, ALICE)
    return emails


@pytest.mark.parametrize("but_for", [0, 20, 60])
def test_a_disk_that_is_full_in_the_middle_of_a_page_fails_the_peer_and_nothing_else(
    hostile: Hostile, disk: Disk, but_for: int
) -> None:
    hostile.server.bind("before@example.org", BOB)
    hostile.look()
    emails = bind_many(hostile)
    disk.fill(but_for)
    for _ in range(3):
        state = hostile.look()
        assert (state.size, state.checkpoint, state.error, state.is_stopped) == (0, None, FULL, False)
        assert hostile.bindings() == set()
        assert hostile.server.lookup("before@example.org", emails[0]) == {"before@example.org": BOB}
    [standing] = hostile.server.driver.services.peering.status.standings()
    assert (standing.state, standing.error) == ("failing", FULL)
    disk.clear()
    state = hostile.look()
    assert (state.size, state.error, state.contradictions) == (ENTRIES, None, 0)
    assert len(hostile.bindings()) == ENTRIES
    assert hostile.server.lookup("before@example.org", *emails) == {
        "before@example.org": BOB,
        **dict.fromkeys(emails, ALICE),
    }


def test_what_was_taken_over_before_the_disk_was_full_stays(hostile: Hostile, disk: Disk) -> None:
    hostile.evil.bind("first@example.org", BOB)
    hostile.look()
    disk.fill()
    bind_many(hostile)
    state = hostile.look()
    assert (state.size, state.error) == (1, FULL)
    assert hostile.server.lookup("first@example.org", "u0@example.org") == {"first@example.org": BOB}
    disk.clear()
    assert hostile.look().size == 1 + ENTRIES


def test_a_write_that_does_not_fit_is_refused_as_a_whole_and_works_when_it_does(hostile: Hostile, disk: Disk) -> None:
    driver = hostile.server.driver
    token = driver.register(BOB)
    sids = [driver.validate(token, f"b{number}@example.org") for number in range(100)]
    disk.fill()
    for number in itertools.count():
        answer = driver.bind(token, sids[number], BOB)
        if answer.status_code != 200:
            break
    assert refusal(answer) == (503, "M_UNKNOWN")
    assert answer.get_json()["error"] == "The database is not available. Please try again in a moment."
    assert [count(hostile.server, table) for table in ("bindings", "log_pending")] == [number, number]
    assert f"b{number}@example.org" not in hostile.server.lookup(f"b{number}@example.org", "b0@example.org")
    assert driver.get("/hash_details", token).status_code == 200
    disk.clear()
    assert driver.bind(token, sids[number], BOB).status_code == 200
    assert hostile.server.lookup(f"b{number}@example.org") == {f"b{number}@example.org": BOB}


def test_a_push_of_a_sydent_that_does_not_fit_is_refused_and_taken_when_it_comes_again(launch: Launch) -> None:
    sydent = FakeSydent()
    api = launch(sydent_peers=[{"name": sydent.name, "verify_key": sydent.verify_key}])
    disk, endpoint = Disk(api.services.database), PushEndpoint(api.services.sydent.receive)
    rows = {number: sydent.row(f"u{number}@example.org", ALICE) for number in range(400)}
    push = Received(sydent.name, "POST", sydent_v1.PATH, body_of({**rows, 1000: "bad"}))
    disk.fill()
    status, answer = endpoint(push)
    assert (status, answer["errcode"]) == (500, "M_UNKNOWN")
    assert api.lookup(api.register(BOB), "u0@example.org") == {}
    assert api.services.sydent.quarantine(sydent.name, 10) == (0, [])
    disk.clear()
    assert endpoint(push) == (200, {"success": True})
    assert api.lookup(api.register(BOB), "u0@example.org", "u399@example.org").keys() == {
        "u0@example.org",
        "u399@example.org",
    }
