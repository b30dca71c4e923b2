"""One holder at a time, and a new one soon after the old one is gone: on both databases."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from sydent_py import database as database_module
from sydent_py import lease as lease_module
from sydent_py.clock import Clock, SystemClock
from sydent_py.database import Database
from sydent_py.lease import LIFETIME_MS, WORKER_LOCK, Lease, build
from tests.fakes.clock import FakeClock

LIFETIME_S = LIFETIME_MS / 1000
only_sqlite = pytest.mark.parametrize("engine", ["sqlite"])
only_postgresql = pytest.mark.parametrize("engine", ["postgresql"])

Open = Callable[..., Lease]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def lease(database_url: str, clock: FakeClock) -> Iterator[Open]:
    """Opens a lease as a process of its own does: on its own connections."""
    opened: list[tuple[Lease, Database]] = []

    def open_lease(clock: Clock = clock) -> Lease:
        database = Database(database_url, pool_size=2)
        opened.append((build(database, clock), database))
        return opened[-1][0]

    yield open_lease
    for lease, database in opened:
        lease.release()
        database.close()


def test_it_is_held_by_one_at_a_time_until_that_one_gives_it_back(lease: Open) -> None:
    one, other = lease(), lease()
    assert not one.is_held()
    assert [one.hold(), other.hold(), one.hold(), other.hold()] == [True, False, True, False]
    assert (one.is_held(), other.is_held()) == (True, False)
    other.release()
    assert not other.hold()
    one.release()
    assert not one.is_held()
    assert [other.hold(), one.hold()] == [True, False]


def test_of_many_that_ask_at_once_one_gets_it(lease: Open) -> None:
    leases = [lease() for _ in range(6)]
    start = Barrier(len(leases))

    def hold(one: Lease) -> bool:
        start.wait(10)
        return one.hold()

    with ThreadPoolExecutor(len(leases)) as pool:
        for _ in range(5):
            held = list(pool.map(hold, leases))
            assert held.count(True) == 1
            leases[held.index(True)].release()


def test_who_has_not_renewed_it_in_time_knows_without_asking(lease: Open, clock: FakeClock) -> None:
    one = lease()
    assert one.hold()
    clock.advance(LIFETIME_S - 0.001)
    assert one.is_held()
    clock.advance(0.001)
    assert not one.is_held()
    assert one.hold()  # nobody else wanted it


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_was_set_says_nothing_about_a_lease(lease: Open, clock: FakeClock, hours: int) -> None:
    one = lease()
    assert one.hold()
    clock.advance(hours * 3600)
    assert not one.is_held()


@only_sqlite
def test_it_runs_out_when_its_holder_is_silent(lease: Open, clock: FakeClock) -> None:
    one, other = lease(), lease()
    assert one.hold()
    clock.advance(LIFETIME_S - 0.001)
    assert not other.hold()
    clock.advance(0.001)
    assert other.hold()
    assert not one.hold()
    one.release()
    assert other.hold()


@only_sqlite
def test_it_does_not_outlive_its_holder_when_the_clock_is_set_back(lease: Open, clock: FakeClock) -> None:
    one, other = lease(), lease()
    assert one.hold()
    clock.advance(-3600)
    assert other.hold()
    assert not one.hold()


@only_sqlite
def test_a_renewal_that_comes_after_another_took_it_changes_nothing(lease: Open, clock: FakeClock) -> None:
    """The other one comes between the moment the holder looks at the clock and the moment it writes."""
    one, other = lease(), lease()
    assert one.hold()

    @event.listens_for(one._database._statements, "before_cursor_execute", once=True)
    def interrupt(*_arguments: object) -> None:
        clock.advance(LIFETIME_S)
        assert other.hold()

    assert not one.hold()
    assert not one.is_held()
    assert other.is_held()


@only_sqlite
def test_a_renewal_that_waited_too_long_does_not_count_and_the_next_one_does(lease: Open, clock: FakeClock) -> None:
    one = lease()
    event.listen(one._database._statements, "before_cursor_execute", lambda *_: clock.advance(LIFETIME_S), once=True)
    assert not one.hold()
    assert one.hold()


@only_sqlite
def test_a_busy_database_does_not_end_it_before_its_time(
    lease: Open, database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "LOCK_TIMEOUT_MS", 20)
    one = lease()
    assert one.hold()
    with database.begin():
        clock.advance(LIFETIME_S - 1)
        with pytest.raises(OperationalError):
            one.hold()
        assert one.is_held()
        clock.advance(1)
        assert not one.is_held()
        one.release()  # fails in silence: the row stays
    other = lease()
    assert other.hold()


@only_postgresql
def test_it_is_lost_with_its_connection(lease: Open, database: Database) -> None:
    one, other = lease(), lease()
    assert (one.hold(), other.hold()) == (True, False)
    _end_session_of_holder(database)
    with pytest.raises(OperationalError):
        one.hold()
    assert not one.is_held()
    _wait_until(other.hold)
    assert not one.hold()
    other.release()
    assert one.hold()


@only_postgresql
def test_a_connection_that_was_lost_while_standing_by_is_made_again(lease: Open, database: Database) -> None:
    one, other = lease(), lease()
    assert (one.hold(), other.hold()) == (True, False)
    pid = other._session.scalar(text("SELECT pg_backend_pid()"))
    with database.begin() as db:
        db.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    with pytest.raises(OperationalError):
        other.hold()
    assert not other.hold()
    one.release()
    assert other.hold()


@only_postgresql
def test_the_server_takes_it_from_a_process_that_is_silent(lease: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "LIFETIME_MS", 300)
    one, other = lease(SystemClock()), lease(SystemClock())
    assert one.hold()
    deadline_s = time.monotonic() + 10
    while not other.hold():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert not one.is_held()
    with pytest.raises(OperationalError):
        one.hold()
    assert not one.hold()


@only_postgresql
def test_giving_back_what_the_server_has_taken_already_is_silent(lease: Open, database: Database) -> None:
    one = lease()
    assert one.hold()
    _end_session_of_holder(database)
    one.release()
    assert not one.is_held()


def _end_session_of_holder(database: Database) -> None:
    locks = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = :class AND objid = :id"
    with database.begin() as db:
        assert db.execute(text(locks), dict(zip(("class", "id"), WORKER_LOCK, strict=True))).all() == [(True,)]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
