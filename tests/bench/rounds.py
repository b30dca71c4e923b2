"""How a run of the benchmark is made."""

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rounds:
    """So many rounds, each with one piece of work in ``share`` of a full one.

    ``cache`` is where databases are kept. Clients and yardsticks take turns ``outside``, in a process started from nothing.
    """

    number: int
    share: int
    cache: Path
    outside: Executor
