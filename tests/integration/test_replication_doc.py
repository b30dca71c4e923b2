"""The documentation's two servers, set up as it is written."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import COMMAND, free_port

DOC = Path(__file__).parents[2] / "docs" / "replication.md"


@pytest.mark.skipif(
    not shutil.which("curl"), reason="THE DOCUMENTATION WAS NOT RUN: its commands need curl, which is not here"
)
def test_two_servers_become_peers_as_written(tmp_path: Path) -> None:
    text = DOC.read_text().partition("## Two servers")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 4
    script = "\n".join(blocks)
    for port in ("8091", "8092"):
        script = script.replace(port, str(free_port()))
    process = subprocess.Popen(
        ["bash", "-eux", "-o", "pipefail", "-c", f"{script}\nkill $A $B\nwait"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{COMMAND.parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, errors = process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    logs = "".join(path.read_text() for path in sorted(tmp_path.glob("*.log")))
    assert process.returncode == 0, f"{said}\n{errors}\n{logs}"
    checked, _, listed = said.partition("a.test: ")
    assert "b.test\n  ok     connection: http://127.0.0.1:" in checked
    assert "WRONG" not in checked
    assert listed.startswith("following\n  Direction:    we follow each other\n")
    assert (tmp_path / "a.toml").read_text().count("[[peers]]") == 1
