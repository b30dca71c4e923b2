"""Verifying a log, in this process and by the real command; and beside it hashing and parsing by themselves."""

import hashlib
import json
import re
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os import getpid
from pathlib import Path

from sydent_py.clock import SystemClock
from sydent_py.federation.remote import BaseUrl, Remote
from sydent_py.log.audit import Audit, reading_order
from sydent_py.log.remote import RemoteLog, log_at
from sydent_py.tlog.tiles import TileName, parse_bundle
from tests.bench.cpu import cpu_s
from tests.bench.log.build import Server, server_of
from tests.bench.log.cost import Cost, WrongResult, cost_of
from tests.bench.server import COMMAND

SAMPLE_EVERY_S = 0.02
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def audit(config: Path) -> dict[str, Cost]:
    """An audit that reads through ``PublishedLog``, its two halves each by itself, and the yardsticks of the second."""
    with server_of(config) as server:
        checkpoint = server.published.status().checkpoint
        backends, count = server.backends(), checkpoint.size
        names = list(map(str, reading_order(count)))
        files = {name: _file(server, name) for name in ("checkpoint", *names)}
        leaves = [leaf for name in names if "entries" in name for leaf in parse_bundle(files[name])]

        def read_all() -> None:
            for name in names:
                _file(server, name)

        return {
            "audit": cost_of(lambda: _audit(server, partial(_file, server)), count, backends),
            "read": cost_of(read_all, count, backends),
            "check": cost_of(lambda: _audit(server, files.__getitem__), count),
            "hash": cost_of(lambda: _expect(root_of(leaves) == checkpoint.root), count),
            "parse": cost_of(lambda: [json.loads(leaf) for leaf in leaves], count),
        }


def peaks_mb(small: Path, large: Path) -> tuple[float, float]:
    """By how much audits of two logs, one after the other, raise the peak memory of this process, which has done nothing else."""
    return _growth_mb(small), _growth_mb(large)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root of the tree, with nothing done but what cannot be left out."""
    sha256 = hashlib.sha256
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        above = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        level = [*above, *level[2 * len(above) :]]
    return level[0]


@dataclass(frozen=True)
class Command:
    """A run of ``sydent-py log verify``: of the command, and of the server meanwhile."""

    output: str
    client: Cost
    server: Cost
    peak_mb: float


def command(port: int, servers: Sequence[int], backends: Sequence[int], state: Path, count: int) -> Command:
    """Verify the log of the server on this port for the first time."""
    state.unlink(missing_ok=True)
    run = _run([f"http://127.0.0.1:{port}", "--state", str(state), "--json"], count, servers, backends)
    _expect(json.loads(run.output)["size"] == count)
    return run


def warm_up(port: int, config: Path) -> None:
    """Have the server of this port open all its connections."""
    with server_of(config) as server:
        key = server.key.verifier_key
    url = log_at(BaseUrl.parse(f"http://127.0.0.1:{port}"))
    with RemoteLog(Remote(url, SystemClock())) as log:
        Audit(log.fetch, key, lambda _done, _total: None, log.expect)(None)


def start(count: int) -> Command:
    """The command before it does anything."""
    return _run(["--help"], count)


def _run(arguments: Sequence[str], count: int, servers: Sequence[int] = (), backends: Sequence[int] = ()) -> Command:
    started_s, before_s = time.perf_counter(), (_children_cpu_s(), cpu_s(servers), cpu_s(backends))
    with subprocess.Popen([str(COMMAND), "log", "verify", *arguments], stdout=subprocess.PIPE, text=True) as process:
        peak_mb = 0.0
        while process.poll() is None:
            peak_mb = max(peak_mb, _peak_mb(process.pid))
            time.sleep(SAMPLE_EVERY_S)
        elapsed_s = time.perf_counter() - started_s
        output, _ = process.communicate()
    after_s = _children_cpu_s(), cpu_s(servers), cpu_s(backends)
    _expect(process.returncode == 0)
    client_s, server_s, backend_s = (after - before for after, before in zip(after_s, before_s, strict=True))
    return Command(output, Cost(count, elapsed_s, client_s), Cost(count, elapsed_s, server_s, backend_s), peak_mb)


def _children_cpu_s() -> float:
    """User and system time of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_mb(pid: int) -> float:
    """The peak of a process's RSS; 0 once it has ended."""
    found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def _growth_mb(config: Path) -> float:
    with server_of(config) as server:
        _file(server, "checkpoint")
        before_mb = _peak_mb(getpid())
        _audit(server, partial(_file, server))
        return _peak_mb(getpid()) - before_mb


def _audit(server: Server, fetch: Callable[[str], bytes]) -> None:
    Audit(fetch, server.key.verifier_key, lambda _done, _total: None)(None)


def _file(server: Server, name: str) -> bytes:
    return server.published.checkpoint().encode() if name == "checkpoint" else server.published.file(TileName.parse(name))


def _expect(is_right: bool) -> None:  # noqa: FBT001 - the caller names what has to be
    if not is_right:
        raise WrongResult("The log was not verified.")
