"""Servers with keys that are known before they run, and the command of their operators."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from unpaddedbase64 import encode_base64

from sydent_py import installation
from sydent_py.settings import load
from tests.conftest import SEALING_KEY
from tests.integration.conftest import COMMAND, IdentityServer
from tests.usecases.replication.conftest import peer_section, seed


@dataclass
class Side:
    """A server, which runs if a test starts it, and its operator."""

    name: str
    server: IdentityServer

    @property
    def url(self) -> str:
        return self.server.base_url

    @property
    def block(self) -> dict[str, Any]:
        """As others have it in ``[[peers]]``."""
        return peer_section(self.name, base_url=self.url)

    def pin(self, block: dict[str, Any]) -> None:
        """Make another server a peer, before this one runs."""
        lines = ["\n[[peers]]", *(f"{key} = {json.dumps(value)}" for key, value in block.items())]
        with self.server.config.open("a") as config:
            config.write("\n".join(lines))

    def prepare(self) -> None:
        """Make the database, for commands where the server does not run."""
        installation.prepare(load(self.server.config))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``sydent-py peers ...`` with its configuration."""
        return subprocess.run(
            [COMMAND, "--config", self.server.config, "peers", *arguments],
            cwd=self.server.directory,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def standing(self) -> Any:
        """The only peer, as the list for scripts has it."""
        [peer] = json.loads(self.run("list", "--json").stdout)["peers"]
        return peer


NewSide = Callable[..., Side]


@pytest.fixture
def engine() -> str:
    """Commands read what tests of both databases have seen."""
    return "sqlite"


@pytest.fixture
def new_side(tmp_path: Path) -> Iterator[NewSide]:
    """Writes keys and configuration of a server; ``key_id`` is the version of its signing key."""
    sides: list[Side] = []

    def build(name: str, key_id: str = "0") -> Side:
        data = tmp_path / name / "data"
        data.mkdir(parents=True)
        for file, purpose, version in (("signing.key", "signing", key_id), ("log.key", "log", "0")):
            (data / file).write_text(f"ed25519 {version} {encode_base64(seed(name, purpose))}\n")
        (data / "sealing.key").write_text(SEALING_KEY)
        url = f"sqlite:///{data / 'sydent.db'}"
        sections = {"server": {"name": name, "workers": 1}, "database": {"url": url}, "replication": {"poll_seconds": 1}}
        sides.append(Side(name, IdentityServer(tmp_path / name, sections)))
        return sides[-1]

    yield build
    for side in sides:
        if hasattr(side.server, "process"):
            side.server.__exit__()
