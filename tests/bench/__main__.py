"""``python -m tests.bench``: measure, and print one table a database."""

import json
import os
import platform
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import click

from tests.bench.build import dataset
from tests.bench.client import Load, drive
from tests.bench.probe import Floor, probe
from tests.bench.report import Figures, Result, summarize
from tests.bench.server import Running, serve
from tests.bench.work import LOOKUP, Dataset, Plan, Work

ROOT = Path(__file__).parents[2]
DATABASES = ("sqlite", "postgresql")
CONNECTIONS = (1, 16)
# So many that every round costs the server about half a second.
WORKS = (
    Work("GET /versions", 1500),
    Work("GET /account", 1200),
    Work(LOOKUP, 1000, 1),
    Work(LOOKUP, 400, 100),
    Work(LOOKUP, 100, 1000),
)
ROUNDS = 5
QUICK_BINDINGS = 10_000
QUICK_ROUNDS = 2
QUICK_SHARE = 20


@click.command()
@click.option("--bindings", type=click.IntRange(min=2000), help="How many bindings: 1,000,000 unless told.")
@click.option("--database", "databases", multiple=True, type=click.Choice(DATABASES), default=DATABASES)
@click.option("--rounds", type=click.IntRange(min=1))
@click.option("--quick", is_flag=True, help="A smoke run of a few seconds.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
@click.option("--cache", type=click.Path(path_type=Path), default=ROOT / ".bench", help="Where databases are kept.")
def main(
    *, bindings: int | None, databases: tuple[str, ...], rounds: int | None, quick: bool, json_file: Path | None, cache: Path
) -> None:
    """Measure the server against a raw index probe of the same keys in the same database."""
    bindings = bindings or (QUICK_BINDINGS if quick else 1_000_000)
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    works = [Work(work.target, work.requests // (QUICK_SHARE if quick else 1), work.hashes) for work in WORKS]
    results = []
    # The client and the probe take turns in a process of their own, started from nothing.
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as outside:
        for kind in databases:
            with dataset(kind, bindings, cache.resolve()) as (data, config), serve(config, data.url) as server:
                figures = _measure(data, server, works, rounds, outside)
                results.append(Result(f"{kind}, {bindings:,} bindings", figures, server.memory_mb()))
            click.echo("\n".join(["", *results[-1].lines()]))
    if json_file:
        machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        text = json.dumps(
            {"machine": machine, "bindings": bindings, "rounds": rounds, "results": [r.to_json() for r in results]}, indent=2
        )
        json_file.write_text(text + "\n")


def _measure(data: Dataset, server: Running, works: list[Work], rounds: int, outside: Executor) -> list[Figures]:
    cells = list(product(works, CONNECTIONS))
    taken: dict[tuple[Work, int], list[tuple[Load, Floor | None]]] = {cell: [] for cell in cells}
    # Round 0 opens the server's connections and fills its caches; nobody counts it.
    for number, (work, connections) in product(range(rounds + 1), cells):
        plan = Plan(work, data, f"{number}/{work.name}/{connections}")
        load = outside.submit(drive, plan, server.port, connections, server.processes(), server.backends()).result()
        floor = outside.submit(probe, plan).result() if work.hashes else None
        if number:
            taken[work, connections].append((load, floor))
    return [summarize(work, connections, taken[work, connections]) for work, connections in cells]


if __name__ == "__main__":
    main()
