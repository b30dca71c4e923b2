"""The server under test: the real command, with one web process and no background work."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.databases import connect

COMMAND = Path(sys.executable).parent / "sydent-py"
NAME = "under test"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0


@dataclass(frozen=True)
class Running:
    """A server that answers on ``port``; ``pid`` is gunicorn's arbiter."""

    pid: int
    port: int
    database_url: str

    def processes(self) -> list[int]:
        """The arbiter and its workers."""
        return [self.pid, *self._workers()]

    def backends(self) -> list[int]:
        """The processes of PostgreSQL that serve a client; SQLite has none."""
        if not self.database_url.startswith("postgresql"):
            return []
        with connect(self.database_url) as db:
            return [pid for (pid,) in db.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", [NAME])]

    def memory_mb(self) -> dict[str, float]:
        """RSS, PSS and USS of the worker."""
        memory = [psutil.Process(pid).memory_full_info() for pid in self._workers()]
        return {name: round(max(getattr(part, name) for part in memory) / 1e6, 1) for name in ("rss", "pss", "uss")}

    def _workers(self) -> list[int]:
        return [process.pid for process in psutil.Process(self.pid).children(recursive=True)]


@contextmanager
def serve(config: Path, database_url: str) -> Iterator[Running]:
    """Run ``sydent-py serve`` on a free port while the block runs; its log is beside the configuration."""
    port = _free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SYDENT_PY_")}
    # So that its connections are not taken for those of a client that is about to leave.
    environ["PGAPPNAME"] = NAME
    environ["SYDENT_PY_SERVER__BIND"] = f"127.0.0.1:{port}"
    command = [str(COMMAND), "--config", str(config), "serve", "--no-worker"]
    log = config.parent / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, cwd=config.parent, stdout=output, stderr=output)
    try:
        _wait_until_ready(process, port, log)
        yield Running(process.pid, port, database_url)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_TIMEOUT_S)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"The server did not start:\n{log.read_text()[-2000:]}")
