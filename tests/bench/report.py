"""Figures as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

from tests.bench.client import Load
from tests.bench.probe import Floor
from tests.bench.work import Work

RATIO_BAR = 3.0
MEMORY_BAR_MB = 120
LARGE = 1000


@dataclass(frozen=True)
class Figures:
    """One kind of work at one number of connections: the median of all rounds. CPU times are for one request."""

    work: str
    hashes: int
    connections: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float
    backend_cpu_ms: float
    probe_cpu_ms: float | None
    probe_backend_cpu_ms: float | None
    ratio: float | None


@dataclass(frozen=True)
class Result:
    """All figures of one database."""

    database: str
    figures: Sequence[Figures]
    memory_mb: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return {
            "database": self.database,
            "figures": [asdict(figures) for figures in self.figures],
            "worker_memory_mb": self.memory_mb,
            "one_hash_to_account": {str(connections): ratio for connections, ratio in self._one_hash_to_account().items()},
        }

    def lines(self) -> list[str]:
        """The table, and below it how it compares with the bars."""
        table = [
            f"{self.database}",
            f"{'':20} {'conn.':>5} {'req/s':>7} {'p50 ms':>8} {'p99 ms':>8} {'server':>8} {'+backend':>8} {'probe':>8} {'+backend':>8} {'ratio':>6}",
            *(_row(figures) for figures in self.figures),
            "(server, probe, +backend: CPU ms a request; ratio: server and backend over probe and backend)",
        ]
        return [*table, *self._bars()]

    def _bars(self) -> list[str]:
        ratio = max((f.ratio for f in self.figures if f.hashes == LARGE and f.ratio is not None), default=0.0)
        ones = ", ".join(f"{value:.2f}x at {name}" for name, value in self._one_hash_to_account().items())
        memory = ", ".join(f"{name.upper()} {value:.0f} MB" for name, value in self.memory_mb.items())
        return [
            f"lookup of {LARGE} at most {RATIO_BAR}x the probe: {_verdict(ratio <= RATIO_BAR)} ({ratio:.2f}x)",
            f"worker's memory under {MEMORY_BAR_MB} MB: {_verdict(self.memory_mb['rss'] < MEMORY_BAR_MB)} ({memory})",
            f"lookup of 1 hash, compared with GET /account: {ones} connections",
        ]

    def _one_hash_to_account(self) -> dict[int, float]:
        cpu = {(f.work, f.connections): f.server_cpu_ms + f.backend_cpu_ms for f in self.figures}
        ones = {f.connections: (f.work, f.connections) for f in self.figures if f.hashes == 1}
        return {connections: cpu[one] / cpu["GET /account", connections] for connections, one in ones.items()}


def summarize(work: Work, connections: int, rounds: Sequence[tuple[Load, Floor | None]]) -> Figures:
    """The medians of the rounds. The ratio is taken in each round: what disturbs the machine hits both sides of it."""
    loads = [load for load, _ in rounds]
    floors = [floor for _, floor in rounds if floor is not None]
    ratios = [
        (load.server_cpu_s + load.backend_cpu_s) / (floor.cpu_s + floor.backend_cpu_s) for load, floor in rounds if floor
    ]
    ms = 1000 / work.requests
    return Figures(
        work=work.name,
        hashes=work.hashes,
        connections=connections,
        requests_per_s=median(work.requests / load.elapsed_s for load in loads),
        p50_ms=1000 * median(median(load.latencies_s) for load in loads),
        p99_ms=1000 * median(quantiles(load.latencies_s, n=100, method="inclusive")[98] for load in loads),
        server_cpu_ms=ms * median(load.server_cpu_s for load in loads),
        backend_cpu_ms=ms * median(load.backend_cpu_s for load in loads),
        probe_cpu_ms=ms * median(floor.cpu_s for floor in floors) if floors else None,
        probe_backend_cpu_ms=ms * median(floor.backend_cpu_s for floor in floors) if floors else None,
        ratio=median(ratios) if ratios else None,
    )


def _row(figures: Figures) -> str:
    f = figures
    floor = [_cell(f.probe_cpu_ms, 8, 3), _cell(f.probe_backend_cpu_ms, 8, 3), _cell(f.ratio, 6, 2)]
    return (
        f"{f.work:20} {f.connections:>5} {f.requests_per_s:>7.0f} {f.p50_ms:>8.2f} {f.p99_ms:>8.2f} "
        f"{f.server_cpu_ms:>8.3f} {f.backend_cpu_ms:>8.3f} {' '.join(floor)}"
    )


def _cell(value: float | None, width: int, places: int) -> str:
    return " " * width if value is None else f"{value:>{width}.{places}f}"


def _verdict(is_met: bool) -> str:  # noqa: FBT001 - the caller names the bar
    return "met" if is_met else "MISSED"
