"""The background work: jobs on schedules of their own, done by one process of those that share a database."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Protocol

import structlog
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sydent_py import lease
from sydent_py.clock import Clock, Deadline
from sydent_py.lease import Lease
from sydent_py.services import Services

# How often the lease is asked for or renewed.
TICK_S = 1.0
# How long a job that failed waits before it is tried again, at most.
LONGEST_BACK_OFF_S = 60.0
# How long a stop waits for jobs under way. What it abandons, the next worker does again.
FINISH_WITHIN_S = 10.0

HOUR_S = 3600.0
# An invitation or a binding that somebody waits for is seen at once.
DELIVER_EVERY_S = 0.2
SEQUENCE_EVERY_S = 0.2
# How often it is looked whether a peer is due, which asks nobody but the database.
FOLLOW_EVERY_S = 0.2
PUSH_EVERY_S = 1.0
# A log may grow more often than that; its witnesses see each time how far it is then.
SUBMIT_EVERY_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Job:
    """Work that is done again and again.

    ``finish`` waits for what runs have begun and left to go on by itself, for so many seconds at most: whether it is done.

    A job may be cut short at any moment, and may overlap for one run with the same job of another process.
    """

    name: str
    every_s: float
    run: Callable[[], None]
    finish: Callable[[float], bool] = lambda _within_s: True


def jobs(services: Services) -> tuple[Job, ...]:
    """Everything that is done in the background."""
    deliveries = [Job(each.kind, DELIVER_EVERY_S, each, each.finish) for each in vars(services.deliveries).values()]
    sequence = Job("sequence", SEQUENCE_EVERY_S, services.sequencer)
    follow = [Job(f"follow {name}", FOLLOW_EVERY_S, each) for name, each in services.peering.follow.items()]
    nudge = [Job(f"nudge {name}", FOLLOW_EVERY_S, each) for name, each in services.peering.nudge.items()]
    submit = [Job(f"submit {name}", SUBMIT_EVERY_S, each) for name, each in services.peering.submit.items()]
    push = [Job(f"push {name}", PUSH_EVERY_S, each) for name, each in services.sydent.push.items()]
    return *deliveries, sequence, *follow, *nudge, *submit, *push, Job("forget", HOUR_S, services.forget_expired)


class Stop(Protocol):
    """What ends the work; a ``threading.Event`` is one."""

    def wait(self, timeout: float, /) -> bool:
        """Wait so many seconds at most: whether to stop."""


class StopRequest:
    """A stop that a signal handler may ask for; an Event, set by a handler while it is waited for, can lock up."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[None] = SimpleQueue()

    def ask(self, *_signal: object) -> None:
        """Ask for it. Serves as a signal handler."""
        self._requests.put(None)

    def wait(self, timeout: float, /) -> bool:
        """Wait for it."""
        try:
            self._requests.get(timeout=timeout)
        except Empty:
            return False
        self.ask()  # for whoever waits next
        return True


class BackgroundWorker:
    """Stands by until it gets the lease, and runs the jobs for as long as it has it.

    Each job has a thread of its own, so that one that waits for a slow server keeps no other waiting, and no job runs twice at
    once. The lease is renewed here, and its threads look at it before each run: a process that was frozen does not go on.
    """

    def __init__(
        self,
        lease: Lease,
        jobs: Sequence[Job],
        clock: Clock,
        *,
        tick_s: float = TICK_S,
        finish_within_s: float = FINISH_WITHIN_S,
    ) -> None:
        self._lease = lease
        self._jobs = jobs
        self._clock = clock
        self._tick_s = tick_s
        self._finish_within_s = finish_within_s
        self._threads: dict[str, Thread] = {}
        self._is_active: bool | None = None
        self._is_database_lost = False
        # Set at the end of a term: the time between taking the lease and losing it.
        self._over = Event()

    def run(self, stop: Stop) -> None:
        """Work until ``stop``; then let jobs under way finish, and give the lease back."""
        try:
            while True:
                self._tick()
                if stop.wait(self._tick_s):
                    break
        finally:
            self._over.set()
            self._finish()
            self._lease.release()
            log.info("worker.stopped", pid=os.getpid())

    def _tick(self) -> None:
        is_active = self._hold()
        if is_active is not self._is_active:
            log.info("worker.active" if is_active else "worker.standby", pid=os.getpid())
            self._is_active = is_active
            self._over.set()
            self._over = Event()
        if is_active:
            self._start_threads()

    def _hold(self) -> bool:
        """Take the lease or renew it; while the database is not there, what we know of it."""
        try:
            is_held = self._lease.hold()
        except SQLAlchemyError as error:
            if not self._is_database_lost:
                log.warning("worker.no_database", error=_first_line(error))
            self._is_database_lost = True
            return self._lease.is_held()
        self._is_database_lost = False
        return is_held

    def _start_threads(self) -> None:
        """One for each job that has none. Where a run of an earlier term is still under way, its job waits for it."""
        for job in self._jobs:
            thread = self._threads.get(job.name)
            if thread is None or not thread.is_alive():
                # A daemon, because a process that stops does not wait for a run that hangs.
                self._threads[job.name] = Thread(target=self._work, args=(job, self._over), name=job.name, daemon=True)
                self._threads[job.name].start()

    def _work(self, job: Job, over: Event) -> None:
        """Run one job on its schedule for one term."""
        failures = 0
        while not over.is_set():
            if not self._lease.is_held():
                over.wait(self._tick_s)
                continue
            pause_s = self._attempt(job)
            failures = failures + 1 if pause_s is None else 0
            over.wait(back_off_s(failures) if pause_s is None else pause_s)

    def _attempt(self, job: Job) -> float | None:
        """Run a job once: how many seconds from now it is due again, or None where it failed."""
        began_s = self._clock.monotonic_s()
        try:
            job.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other jobs go on and this one is tried again
            _log_failure(job, error)
            return None
        return max(0.0, began_s + job.every_s - self._clock.monotonic_s())

    def _finish(self) -> None:
        """Wait for the runs under way, and keep the lease meanwhile."""
        deadline = Deadline.after(self._clock, self._finish_within_s)
        for job, thread in self._threads.items():
            while thread.is_alive() and (left_s := deadline.remaining_s()) > 0:
                thread.join(min(left_s, self._tick_s))
                if thread.is_alive() and self._is_active:
                    self._hold()
            if thread.is_alive():
                log.warning("worker.job_abandoned", job=job)
        for each in self._jobs:
            while not each.finish(min(deadline.remaining_s(), self._tick_s)) and deadline.remaining_s() > 0:
                if self._is_active:
                    self._hold()


def back_off_s(failures: int) -> float:
    """How long to wait after so many failures in a row: one second, then twice as long each time, up to a minute."""
    return min(LONGEST_BACK_OFF_S, 2.0 ** min(failures - 1, 10))


def build(services: Services) -> BackgroundWorker:
    """The background worker of these services."""
    return BackgroundWorker(lease.build(services.database, services.clock), jobs(services), services.clock)


def run(services: Services, stop: Stop) -> None:
    """Do the background work, and take what Sydent peers push, until ``stop``.

    A process that stands by takes it, too: a peer knows one address, and not which process is active.
    """
    with services.sydent.listening():
        build(services).run(stop)


def _log_failure(job: Job, error: Exception) -> None:
    """What nobody foresaw is logged with its traceback, a database that is not there is not."""
    if isinstance(error, OperationalError | PoolTimeoutError):
        log.error("worker.job_failed", job=job.name, error=_first_line(error))
    else:
        log.error("worker.job_failed", job=job.name, exc_info=error)


def _first_line(error: SQLAlchemyError) -> str:
    """The driver's own words; values come after the first line."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0]
