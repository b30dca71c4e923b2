"""``python -m tests.bench``: measure, and print one table a database and part."""

import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import click

from tests.bench import lookups
from tests.bench.databases import KINDS
from tests.bench.log import run as log
from tests.bench.rounds import Rounds

ROOT = Path(__file__).parents[2]
PARTS = ("lookups", "log")
ROUNDS = 5
QUICK_ROUNDS = 2
QUICK_SHARE = 20
BINDINGS, QUICK_BINDINGS = 1_000_000, 10_000
ENTRIES, QUICK_ENTRIES = 100_000, 5000


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, help="Both unless told.")
@click.option("--bindings", type=click.IntRange(min=2000), help=f"How many bindings: {BINDINGS:,} unless told.")
@click.option("--entries", type=click.IntRange(min=1000), help=f"How many entries of the log: {ENTRIES:,} unless told.")
@click.option("--database", "databases", multiple=True, type=click.Choice(KINDS), default=KINDS)
@click.option("--rounds", type=click.IntRange(min=1))
@click.option("--quick", is_flag=True, help="A smoke run of a few seconds.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
@click.option("--cache", type=click.Path(path_type=Path), default=ROOT / ".bench", help="Where databases are kept.")
def main(
    *,
    parts: tuple[str, ...],
    bindings: int | None,
    entries: int | None,
    databases: tuple[str, ...],
    rounds: int | None,
    quick: bool,
    json_file: Path | None,
    cache: Path,
) -> None:
    """Measure the server against what the same work costs without it, in the same database and run."""
    bindings = bindings or (QUICK_BINDINGS if quick else BINDINGS)
    entries = entries or (QUICK_ENTRIES if quick else ENTRIES)
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    results: dict[str, list[dict[str, object]]] = {part: [] for part in parts}
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as outside:
        how = Rounds(rounds, QUICK_SHARE if quick else 1, cache.resolve(), outside)
        for part, kind in product(parts, databases):
            result = lookups.measure(kind, bindings, how) if part == "lookups" else log.measure(kind, entries, how)
            results[part].append(result.to_json())
            click.echo("\n".join(["", *result.lines()]))
    if json_file:
        machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        size = {"bindings": bindings, "entries": entries, "rounds": rounds}
        json_file.write_text(json.dumps({"machine": machine, **size, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
