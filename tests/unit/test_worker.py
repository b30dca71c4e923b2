"""When jobs run: on schedules of their own, while the lease is held, and never twice at once."""

import os
import signal
import threading
import time
from collections.abc import Callable
from threading import Event, Lock

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from sydent_py.clock import SystemClock
from sydent_py.worker import BackgroundWorker, Job, StopRequest, back_off_s

LONG_S = 3600.0
SOON_S = 10.0


class FakeLease:
    """Ours while ``is_ours``, and what happened to it in order."""

    def __init__(self) -> None:
        self.is_ours = True
        self.is_frozen = False
        self.error: Exception | None = None
        self.history: list[str] = []

    def hold(self) -> bool:
        self.history.append("hold")
        if self.error:
            raise self.error
        return self.is_ours

    def is_held(self) -> bool:
        return self.is_ours and not self.is_frozen

    def release(self) -> None:
        self.history.append("release")


class Script:
    """A stop that comes after some steps. The worker goes on while a step says False, which is tried again then."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self.until_s = time.monotonic() + SOON_S

    def wait(self, timeout: float, /) -> bool:
        if self.steps and self.steps[0]() is False:
            assert time.monotonic() < self.until_s
            time.sleep(timeout)
            return False
        self.steps = self.steps[1:]
        return not self.steps


class Runs:
    """A job that counts its runs, and notices when two of them overlap."""

    def __init__(self, name: str = "count", every_s: float = 0.001) -> None:
        self.count = 0
        self.overlaps = 0
        self.job = Job(name, every_s, self._run)
        self._lock = Lock()

    def _run(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.overlaps += 1
            return
        self.count += 1
        try:
            self.during()
        finally:
            self._lock.release()

    def during(self) -> None:
        """What the job does."""

    def reaches(self, count: int) -> Callable[[], bool]:
        return lambda: self.count >= count

    def goes_on(self) -> Callable[[], bool]:
        """A step that ends after three more runs."""
        began_at: list[int] = []

        def step() -> bool:
            began_at.append(self.count)
            return self.count >= began_at[0] + 3

        return step


class Slow(Runs):
    """A job whose run lasts until it is let go."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.go = Event()

    def during(self) -> None:
        assert self.go.wait(SOON_S)


def work(lease: FakeLease, *steps: Callable[[], object], jobs: list[Runs], finish_within_s: float = SOON_S) -> None:
    worker = BackgroundWorker(lease, [job.job for job in jobs], SystemClock(), tick_s=0.01, finish_within_s=finish_within_s)
    worker.run(Script(*steps))


def test_a_job_runs_at_once_and_then_when_it_is_due() -> None:
    often, seldom = Runs(), Runs("seldom", every_s=LONG_S)
    work(FakeLease(), often.reaches(5), jobs=[often, seldom])
    assert seldom.count == 1


def test_the_time_a_run_takes_is_part_of_its_period() -> None:
    clock = SystemClock()
    worker = BackgroundWorker(FakeLease(), [], clock)
    pause_s = worker._attempt(Job("naps", 0.2, lambda: clock.sleep_s(0.05)))
    assert pause_s is not None
    assert 0 < pause_s <= 0.15
    assert worker._attempt(Job("late", 0.01, lambda: clock.sleep_s(0.05))) == 0.0


def test_a_slow_job_keeps_no_other_waiting() -> None:
    slow, other = Slow(), Runs()
    work(FakeLease(), slow.reaches(1), other.goes_on(), slow.go.set, jobs=[slow, other])
    assert slow.count >= 1


def test_a_job_that_fails_is_logged_and_tried_again_and_the_others_go_on() -> None:
    other = Runs()
    failing = Runs("failing", every_s=LONG_S)

    def fail() -> None:
        raise KeyError

    failing.during = fail
    with capture_logs() as events:
        # The second attempt comes after a second, and not after the hour that this job waits otherwise.
        work(FakeLease(), failing.reaches(2), other.goes_on(), jobs=[failing, other])
    [first, *_] = [event for event in events if event["event"] == "worker.job_failed"]
    assert (first["job"], type(first["exc_info"])) == ("failing", KeyError)


def test_a_database_that_is_away_is_one_line_without_values() -> None:
    def fail() -> None:
        raise OperationalError("SELECT", {}, Exception("connection refused\nDETAIL: alice@example.org"))

    with capture_logs() as events:
        assert BackgroundWorker(FakeLease(), [], SystemClock())._attempt(Job("x", 1, fail)) is None
    assert events == [{"event": "worker.job_failed", "job": "x", "error": "connection refused", "log_level": "error"}]


def test_failures_are_waited_out_for_a_minute_at_most() -> None:
    assert [back_off_s(failures) for failures in (1, 2, 3, 6, 7, 1_000_000)] == [1, 2, 4, 32, 60, 60]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced() -> None:
    runs = Runs()

    def die() -> None:
        raise SystemExit

    runs.during = die
    work(FakeLease(), runs.reaches(2), jobs=[runs])


def test_nothing_runs_while_another_holds_the_lease() -> None:
    lease, runs = FakeLease(), Runs()
    lease.is_ours = False
    with capture_logs() as events:
        work(lease, lambda: None, lambda: None, jobs=[runs])
    assert runs.count == 0
    assert [event["event"] for event in events] == ["worker.standby", "worker.stopped"]


def test_a_lost_lease_ends_the_runs_and_a_new_one_begins_them_again() -> None:
    lease, runs = FakeLease(), Runs()
    counted: list[int] = []

    def count() -> None:
        for thread in threading.enumerate():
            if thread.name == "count":
                thread.join(SOON_S)
        counted.append(runs.count)

    def lose() -> None:
        lease.is_ours = False

    def win() -> None:
        assert counted == [runs.count]
        lease.is_ours = True

    with capture_logs() as events:
        work(lease, runs.reaches(3), lose, count, win, runs.goes_on(), jobs=[runs])
    names = [event["event"] for event in events]
    assert names == ["worker.active", "worker.standby", "worker.active", "worker.stopped"]
    assert all(event["pid"] == os.getpid() for event in events)


def test_a_run_that_outlasts_the_lease_is_not_joined_by_a_second() -> None:
    lease, slow, other = FakeLease(), Slow(), Runs()

    def lose() -> None:
        lease.is_ours = False

    def win() -> None:
        lease.is_ours = True

    def finish() -> None:
        assert slow.count == 1
        slow.go.set()

    steps = [slow.reaches(1), lose, win, other.goes_on(), finish, slow.goes_on()]
    work(lease, *steps, jobs=[slow, other])
    assert (slow.overlaps, other.overlaps) == (0, 0)


def test_a_worker_that_was_frozen_starts_nothing_before_it_has_asked_for_the_lease() -> None:
    lease, runs = FakeLease(), Runs()
    counted: list[int] = []

    def freeze() -> None:
        lease.is_frozen = True
        time.sleep(0.05)
        counted.append(runs.count)
        time.sleep(0.05)
        assert counted == [runs.count]

    def thaw() -> None:
        lease.is_frozen = False

    work(lease, runs.reaches(3), freeze, thaw, runs.goes_on(), jobs=[runs])


def test_a_stop_waits_for_the_run_under_way_and_then_gives_the_lease_back() -> None:
    lease, slow = FakeLease(), Slow()

    def stop() -> None:
        lease.history.clear()
        threading.Timer(0.1, slow.go.set).start()

    work(lease, slow.reaches(1), stop, jobs=[slow])
    assert slow.count == 1
    assert not slow._lock.locked()
    # Renewed while it waited, and given back once.
    assert set(lease.history[:-1]) == {"hold"}
    assert lease.history[-1] == "release"


def test_a_run_that_hangs_is_abandoned() -> None:
    lease, slow = FakeLease(), Slow()
    with capture_logs() as events:
        work(lease, slow.reaches(1), jobs=[slow], finish_within_s=0.05)
    slow.go.set()
    assert lease.history[-1] == "release"
    assert [event["job"] for event in events if event["event"] == "worker.job_abandoned"] == ["slow"]


def test_a_database_that_goes_away_ends_the_term_and_is_logged_once() -> None:
    lease, runs = FakeLease(), Runs()

    def leave() -> None:
        lease.error, lease.is_ours = OperationalError("SELECT", {}, Exception("gone\nDETAIL")), False

    def return_() -> None:
        lease.error, lease.is_ours = None, True

    with capture_logs() as events:
        work(lease, runs.reaches(1), leave, lambda: None, lambda: None, return_, lambda: None, jobs=[runs])
    assert [(event["event"], event.get("error")) for event in events] == [
        ("worker.active", None),
        ("worker.no_database", "gone"),
        ("worker.standby", None),
        ("worker.active", None),
        ("worker.stopped", None),
    ]


def test_a_stop_is_asked_for_by_a_signal_and_answered_at_once() -> None:
    stop = StopRequest()
    before = signal.signal(signal.SIGUSR2, stop.ask)
    try:
        assert not stop.wait(0)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR2)).start()
        began_s = time.monotonic()
        assert stop.wait(SOON_S)
        assert time.monotonic() - began_s < SOON_S / 2
        assert stop.wait(SOON_S)
    finally:
        signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_the_lease_is_given_back_however_the_work_ends(error: type[BaseException]) -> None:
    lease = FakeLease()

    def fail() -> None:
        raise error

    with pytest.raises(error):
        work(lease, fail, jobs=[])
    assert lease.history == ["hold", "release"]
