"""The documentation's client of published keys, run as it is written."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.homeserver import FakeHomeserver
from tests.integration.conftest import COMMAND, IdentityServer

DOC = Path(__file__).parents[3] / "docs" / "keys.md"


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.mark.skipif(
    not shutil.which("curl"), reason="THE DOCUMENTATION WAS NOT RUN: its commands need curl, which is not here"
)
def test_a_client_publishes_and_verifies_as_written(
    sections: dict[str, dict[str, Any]], tmp_path: Path, homeserver: FakeHomeserver
) -> None:
    text = DOC.read_text().partition("## A client in Python")[2].partition("\n## ")[0]
    state, verify, verify_with_us = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    who, publish, pins, steps, end = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert all(f"export {name}=" in who for name in ("IS", "USER_ID", "TOKEN"))
    for name, content in (("state", state), ("verify", verify), ("verify_with_us", verify_with_us)):
        (tmp_path / f"{name}.py").write_text(content)
    user_id = f"@alice:{homeserver.name}"
    with IdentityServer(tmp_path, {**sections, "email": {}}) as server:
        status, account = server.post("/account/register", homeserver.openid_token("alice"))
        assert status == 200, account
        path = f"{COMMAND.parent}:{os.environ['PATH']}"
        script = f"{publish}\n{pins}\n{steps}\npython verify_with_us.py\n{end}"
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "IS": server.base_url, "USER_ID": user_id, "TOKEN": account["token"], "PATH": path},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    first, rotated, *later = re.findall(rf"the key of {re.escape(user_id)}: (\S+)", done.stdout)
    assert first != rotated
    assert later == [rotated, rotated]
    assert len(re.findall(r"the key of a reset that waits: (\S+)", done.stdout)) == 1
    assert '"counts_from_ms"' in done.stdout
    assert f"proved: {rotated}, statement 4 of 4\nBoth show the same." in done.stdout
    assert "History:     4 statements, every one proved, and each continues the one before" in done.stdout
    assert re.search(rf"4  20\d\d-\d\d-\d\d \S+ UTC  cancel   {re.escape(rotated)}", done.stdout)
    assert f"knows of no published keys of {user_id}" in done.stderr
