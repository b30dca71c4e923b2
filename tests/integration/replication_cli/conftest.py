"""Two real servers, and the command of each."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import COMMAND, IdentityServer


@dataclass
class Side:
    """One of them, with its operator."""

    server: IdentityServer

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """``sydent-py peers ...`` with its configuration."""
        return subprocess.run(
            [COMMAND, "--config", self.server.config, "peers", *arguments],
            cwd=self.server.directory,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def configure(self, block: str) -> None:
        """Add a block to the configuration, and restart."""
        self.server.config.write_text(f"{self.server.config.read_text()}\n{block}\n")
        self.server.stop()
        self.server.start()

    def standing(self) -> Any:
        """The only peer, as the list for scripts has it."""
        [peer] = json.loads(self.run("list", "--json").stdout)["peers"]
        return peer


Sides = tuple[Side, Side]


@pytest.fixture
def engine() -> str:
    """Commands read what tests of both databases have seen."""
    return "sqlite"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Side]]:
    running: list[IdentityServer] = []

    def start(name: str, **sections: dict[str, Any]) -> Side:
        directory = tmp_path / name
        directory.mkdir()
        server = {"name": name, "workers": 1, **sections.pop("server", {})}
        running.append(IdentityServer(directory, {**sections, "server": server, "replication": {"poll_seconds": 1}}))
        running[-1].start()
        return Side(running[-1])

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture
def sides(launch: Callable[..., Side]) -> Sides:
    """Two servers that do not know each other yet."""
    return launch("a.test"), launch("b.test")
