"""The log's figures as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.bench.log.build import SMALLER
from tests.bench.log.cost import Cost


@dataclass(frozen=True)
class Work:
    """One row: its key, what it is, and the yardsticks it is compared with, all together; a yardstick has none."""

    key: str
    name: str
    yardsticks: tuple[str, ...] = ()


WORKS = (
    Work("append", "Log.append, one a transaction", ("insert",)),
    Work("insert", "- INSERT by the driver"),
    Work("sequence", "Sequencer, a backlog", ("move", "hash")),
    Work("move", "- INSERT and DELETE by the driver"),
    Work("audit", "Audit of PublishedLog", ("hash", "parse")),
    Work("read", "  its half that reads"),
    Work("check", "  its half that checks", ("hash", "parse")),
    Work("hash", "- SHA-256 of leaves and nodes"),
    Work("parse", "- json.loads of the leaves"),
    Work("follow", "Following a peer's log", ("signatures",)),
    Work("signatures", "- Ed25519 of its payloads"),
    Work("command", "sydent-py log verify", ("hash", "parse")),
    Work("server", "  the server meanwhile"),
    Work("start", "- its start alone (--help)"),
)


@dataclass(frozen=True)
class Figures:
    """One kind of work: the median of all rounds, for one entry."""

    work: str
    entries_per_s: float
    wall_us: float
    cpu_us: float
    backend_cpu_us: float
    ratio: float | None


@dataclass(frozen=True)
class Memory:
    """Peak RSS: by how much an audit of the small log raises it, and one of the large log after that; and the command's, of its
    start alone and of its run.
    """

    audit_mb: tuple[float, float]
    command_mb: tuple[float, float]


@dataclass(frozen=True)
class Result:
    """All figures of one database."""

    database: str
    figures: dict[str, Figures]
    memory: Memory
    entries: int

    def to_json(self) -> dict[str, Any]:
        figures = {key: asdict(figures) for key, figures in self.figures.items()}
        return {"database": self.database, "figures": figures, "memory": asdict(self.memory)}

    def lines(self) -> list[str]:
        """The table, and below it what became of memory."""
        small, large = self.entries // SMALLER, self.entries
        (first, more), (start, run) = self.memory.audit_mb, self.memory.command_mb
        return [
            self.database,
            f"{'':34} {'entries/s':>10} {'wall':>9} {'CPU':>9} {'+backend':>9} {'ratio':>6}",
            *(_row(figures) for figures in self.figures.values()),
            "(wall, CPU, +backend: µs an entry; - yardstick; ratio: CPU and backend over that of the yardsticks,",
            " which are hashing and parsing for whatever verifies, and moving and hashing for the sequencer)",
            f"peak memory: an audit of {small:,} entries takes {first:.1f} MB, and one of {large:,} takes {more:.1f} MB more",
            f"of the command: {start:.1f} MB for its start alone, and {run:.1f} MB with its run",
        ]


def summarize(rounds: Sequence[dict[str, Cost]]) -> dict[str, Figures]:
    """The medians of the rounds. Each ratio is taken within its round: what disturbs the machine hits both sides of it."""
    return {work.key: _figures(work, rounds) for work in WORKS}


def _figures(work: Work, rounds: Sequence[dict[str, Cost]]) -> Figures:
    costs = [costs[work.key] for costs in rounds]
    ratios = [
        costs[work.key].all_cpu_s / sum(costs[key].all_cpu_s for key in work.yardsticks)
        for costs in rounds
        if work.yardsticks
    ]
    return Figures(
        work=work.name,
        entries_per_s=median(cost.count / cost.elapsed_s for cost in costs),
        wall_us=1e6 * median(cost.elapsed_s / cost.count for cost in costs),
        cpu_us=1e6 * median(cost.cpu_s / cost.count for cost in costs),
        backend_cpu_us=1e6 * median(cost.backend_cpu_s / cost.count for cost in costs),
        ratio=median(ratios) if ratios else None,
    )


def _row(figures: Figures) -> str:
    f = figures
    ratio = "" if f.ratio is None else f"{f.ratio:.2f}"
    return f"{f.work:34} {f.entries_per_s:>10,.0f} {f.wall_us:>9.2f} {f.cpu_us:>9.2f} {f.backend_cpu_us:>9.2f} {ratio:>6}"
