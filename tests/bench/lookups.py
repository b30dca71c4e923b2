"""The part about lookups and accounts: a real server under load, beside a raw index probe of the same keys."""

from itertools import product

from tests.bench.build import dataset
from tests.bench.client import Load, drive
from tests.bench.probe import Floor, probe
from tests.bench.report import Figures, Result, summarize
from tests.bench.rounds import Rounds
from tests.bench.server import Running, serve
from tests.bench.work import LOOKUP, Dataset, Plan, Work

CONNECTIONS = (1, 16)
# So many that every round costs the server about half a second.
WORKS = (
    Work("GET /versions", 1500),
    Work("GET /account", 1200),
    Work(LOOKUP, 1000, 1),
    Work(LOOKUP, 400, 100),
    Work(LOOKUP, 100, 1000),
)


def measure(kind: str, bindings: int, rounds: Rounds) -> Result:
    """All figures of one kind of database."""
    works = [Work(work.target, work.requests // rounds.share, work.hashes) for work in WORKS]
    with dataset(kind, bindings, rounds.cache) as (data, config), serve(config, data.url) as server:
        figures = _measure(data, server, works, rounds)
        return Result(f"{kind}, {bindings:,} bindings", figures, server.memory_mb())


def _measure(data: Dataset, server: Running, works: list[Work], rounds: Rounds) -> list[Figures]:
    cells = list(product(works, CONNECTIONS))
    taken: dict[tuple[Work, int], list[tuple[Load, Floor | None]]] = {cell: [] for cell in cells}
    # Round 0 opens the server's connections and fills its caches; nobody counts it.
    for number, (work, connections) in product(range(rounds.number + 1), cells):
        plan = Plan(work, data, f"{number}/{work.name}/{connections}")
        asked = server.port, connections, server.processes(), server.backends()
        load = rounds.outside.submit(drive, plan, *asked).result()
        floor = rounds.outside.submit(probe, plan).result() if work.hashes else None
        if number:
            taken[work, connections].append((load, floor))
    return [summarize(work, connections, taken[work, connections]) for work, connections in cells]
