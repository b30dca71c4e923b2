"""All that is measured of the log, in rounds."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.bench.databases import Place
from tests.bench.log import follow, verify, write
from tests.bench.log.build import EMPTY, FULL, SMALL, WAITING, logs
from tests.bench.log.cost import Cost
from tests.bench.log.report import Memory, Result, summarize
from tests.bench.rounds import Rounds
from tests.bench.server import Running, serve

APPENDED = 2000
# What one round writes to.
COPY = "copy"


def measure(kind: str, entries: int, rounds: Rounds) -> Result:
    """All figures of one kind of database."""
    with logs(kind, entries, rounds.cache) as databases:
        with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as fresh:
            audit_mb = fresh.submit(verify.peaks_mb, databases.config(SMALL), databases.config(FULL)).result()
        with serve(databases.config(FULL), databases.url(FULL)) as server:
            rounds.outside.submit(verify.warm_up, server.port, databases.config(FULL)).result()
            taken = [_round(databases, server, entries, rounds) for _ in range(rounds.number)]
    costs, peaks_mb = zip(*taken, strict=True)
    start_mb, run_mb = map(max, zip(*peaks_mb, strict=True))
    return Result(f"{kind}, {entries:,} entries of the log", summarize(costs), Memory(audit_mb, (start_mb, run_mb)), entries)


def _round(databases: Place, server: Running, entries: int, rounds: Rounds) -> tuple[dict[str, Cost], tuple[float, float]]:
    """All costs, and the peak memory of the command, with nothing done and with its run."""
    costs = {
        **_write(databases, entries, rounds),
        **rounds.outside.submit(verify.audit, databases.config(FULL)).result(),
        **rounds.outside.submit(follow.follow, databases.copy(EMPTY, COPY), databases.config(FULL), entries).result(),
    }
    start = rounds.outside.submit(verify.start, entries).result()
    run = _command(databases, server, entries, rounds)
    return {**costs, "command": run.client, "server": run.server, "start": start.client}, (start.peak_mb, run.peak_mb)


def _write(databases: Place, entries: int, rounds: Rounds) -> dict[str, Cost]:
    def do(work: Callable[..., Cost], source: str, *arguments: object) -> Cost:
        return rounds.outside.submit(work, databases.copy(source, COPY), *arguments).result()

    appended = APPENDED // rounds.share
    return {
        "append": do(write.append, EMPTY, appended),
        "insert": do(write.insert, EMPTY, databases.config(WAITING), appended),
        "sequence": do(write.sequence, WAITING, entries),
        "move": do(write.move, WAITING, entries),
    }


def _command(databases: Place, server: Running, entries: int, rounds: Rounds) -> verify.Command:
    asked = server.port, server.processes(), server.backends()
    return rounds.outside.submit(verify.command, *asked, databases.directory / "state.json", entries).result()
