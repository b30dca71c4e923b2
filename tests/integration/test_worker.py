"""The background worker in real processes: one is active, and another takes over when it is gone."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.conftest import COMMAND, IdentityServer

ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"])


def events(output: Path, name: str) -> list[int]:
    """The processes that logged an event, in order."""
    lines = [json.loads(line) for line in output.read_text().splitlines() if line.startswith("{")]
    return [line["pid"] for line in lines if line["event"] == name]


def wait_for(condition: Callable[[], Any], output: Path, within_s: float = 45) -> Any:
    deadline_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, output.read_text()
        time.sleep(0.05)
    return found


class Watched:
    """A server, and who works in its background."""

    def __init__(self, server: IdentityServer) -> None:
        self.server = server
        self.output = server.output

    def active(self, count: int = 1) -> int:
        """The process that became active as the ``count``-th."""
        return wait_for(lambda: events(self.output, "worker.active")[count - 1 :], self.output)[0]

    def processes(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.server.process.pid).children()}

    def has_processes(self, count: int) -> set[int]:
        return wait_for(lambda: len(self.processes()) == count and self.processes(), self.output)


@pytest.fixture
def watched(tmp_path: Path, empty_database_url: str) -> Iterator[Watched]:
    with IdentityServer(tmp_path, {"database": {"url": empty_database_url}}) as server:
        yield Watched(server)


def test_serve_replaces_whichever_process_dies_by_its_like(watched: Watched) -> None:
    active = watched.active()
    before = watched.has_processes(3)
    assert active in before
    # It has left the port to the others.
    assert psutil.Process(active).net_connections("inet") == []

    [web, _] = before - {active}
    os.kill(web, signal.SIGKILL)
    wait_for(lambda: len(watched.processes() - {web}) == 3, watched.output)
    assert events(watched.output, "worker.active") == [active]

    os.kill(active, signal.SIGKILL)
    began_s = time.monotonic()
    assert watched.active(2) in watched.has_processes(3) - before
    assert time.monotonic() - began_s < 15
    assert watched.server.get("/terms")[0] == 200

    began_s = time.monotonic()
    assert watched.server.stop() == 0
    assert time.monotonic() - began_s < 10
    assert events(watched.output, "worker.stopped") == [watched.active(2)]


@ON_SQLITE
def test_the_worker_ends_with_the_server_that_was_killed(watched: Watched) -> None:
    active = watched.active()
    os.kill(watched.server.process.pid, signal.SIGKILL)
    watched.server.process.wait()
    wait_for(lambda: not psutil.pid_exists(active), watched.output, within_s=15)
    assert events(watched.output, "worker.stopped") == [active]


@ON_SQLITE
def test_a_reload_replaces_the_worker_and_fewer_web_processes_leave_it(watched: Watched) -> None:
    first, before = watched.active(), watched.has_processes(3)
    watched.server.process.send_signal(signal.SIGHUP)
    second = watched.active(2)
    assert second != first
    wait_for(lambda: len(watched.processes()) == 3 and not watched.processes() & before, watched.output)
    for _ in range(3):
        watched.server.process.send_signal(signal.SIGTTOU)
        time.sleep(0.2)
    assert second in watched.has_processes(2)
    watched.server.process.send_signal(signal.SIGTTIN)
    assert second in watched.has_processes(3)
    assert events(watched.output, "worker.active") == [first, second]
    assert watched.server.get("/terms")[0] == 200


@ON_SQLITE
def test_no_worker_is_what_it_says(tmp_path: Path, empty_database_url: str) -> None:
    sections = {"database": {"url": empty_database_url}}
    with IdentityServer(tmp_path, sections, arguments=("--no-worker",)) as server:
        Watched(server).has_processes(2)
        time.sleep(1)
        assert events(server.output, "worker.active") == events(server.output, "worker.standby") == []
        with worker(server.config) as alone:
            wait_for(lambda: events(alone.output, "worker.active"), alone.output)
            assert server.get("/terms")[0] == 200


class Command:
    """``sydent-py worker``."""

    def __init__(self, config: Path, name: str) -> None:
        self.output = config.parent / f"{name}.txt"
        with self.output.open("wb") as output:
            command = [COMMAND, "worker", "--config", config]
            self.process = subprocess.Popen(command, cwd=config.parent, stdout=output, stderr=output)

    def waits_for(self, event: str, count: int = 1) -> None:
        wait_for(lambda: len(events(self.output, event)) == count, self.output)


@contextmanager
def worker(config: Path, name: str = "worker") -> Iterator[Command]:
    command = Command(config, name)
    try:
        yield command
    finally:
        with suppress(ProcessLookupError):
            command.process.kill()
        command.process.wait()


def test_of_two_workers_one_is_active_and_the_other_takes_over(tmp_path: Path, empty_database_url: str) -> None:
    config = IdentityServer(tmp_path, {"database": {"url": empty_database_url}}).config
    with ExitStack() as stack:
        one = stack.enter_context(worker(config, "one"))
        one.waits_for("worker.active")
        two = stack.enter_context(worker(config, "two"))
        two.waits_for("worker.standby")
        # From one that is frozen, which notices as soon as it is not;
        one.process.send_signal(signal.SIGSTOP)
        two.waits_for("worker.active")
        one.process.send_signal(signal.SIGCONT)
        one.waits_for("worker.standby")
        # from one that was killed;
        two.process.kill()
        one.waits_for("worker.active", 2)
        # and at once from one that was stopped.
        three = stack.enter_context(worker(config, "three"))
        three.waits_for("worker.standby")
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(10) == 0
        three.waits_for("worker.active")
        three.process.send_signal(signal.SIGINT)
        assert three.process.wait(10) == 0
        assert "sydent-py does the background work of id.test." in three.output.read_text()
        assert "Traceback" not in three.output.read_text()


def test_what_keeps_the_worker_from_starting_is_said_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "sydent.toml").write_text("[server]\nnaem = 'x'")
    command = [COMMAND, "--config", "sydent.toml", "worker"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "server.naem: unknown key" in done.stderr) == (1, True)
