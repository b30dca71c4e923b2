"""The README's first binding, run as it is written."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.homeserver import FakeHomeserver
from tests.integration.conftest import COMMAND, IdentityServer

README = Path(__file__).parents[2] / "README.md"

# In the reader's place: fills in who they are, and opens the mailed link and presses its button.
WHO = """
IS={base_url}/_matrix/identity/v2
HS=https://{homeserver}
USER_ID=@alice:{homeserver}
ACCESS_TOKEN=@alice:{homeserver}
"""
PRESS = """
LINK=$(grep -aoE '{base_url}/confirm[?][^[:space:]]+' {output} | tail -n 1)
curl -sf "$LINK" > page.html
curl -sf -d "${{LINK#*[?]}}" "${{LINK%%[?]*}}" > pressed.html
"""


def in_place(verify: str, server: IdentityServer) -> str:
    """The command, of this installation and for this server."""
    assert ".venv/bin/sydent-py" in verify
    return verify.replace(".venv/bin/sydent-py", str(COMMAND)).replace("http://127.0.0.1:8090", server.base_url)


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")),
    reason="THE README WAS NOT RUN: its commands need curl and openssl, which are not here",
)
def test_the_first_binding_works_as_written(
    sections: dict[str, dict[str, Any]], tmp_path: Path, homeserver: FakeHomeserver
) -> None:
    text = README.read_text().partition("## A first binding")[2]
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 7
    with IdentityServer(tmp_path, {**sections, "email": {}}) as server:
        places = {"base_url": server.base_url, "homeserver": homeserver.name, "output": server.output}
        who, register, request_token, bind, lookup, unbind, verify = blocks
        assert "ACCESS_TOKEN=..." in who
        script = [
            WHO.format(**places),
            register,
            request_token,
            PRESS.format(**places),
            bind,
            lookup,
            unbind,
            "sleep 1",
            in_place(verify, server),
        ]
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", "\necho\n".join(script)],
            cwd=tmp_path,
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "CURL_CA_BUNDLE": str(tmp_path / "ca.pem")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    user_id = f"@alice:{homeserver.name}"
    said = done.stdout
    assert f'{{"user_id":"{user_id}"}}' in said
    assert f'"mxid":"{user_id}"' in said
    assert '"public_key":' in said
    assert re.search(rf'{{"mappings":{{"[A-Za-z0-9_-]{{43}}":"{re.escape(user_id)}"}}}}', said)
    assert '"kind":"unbind"' in said
    assert re.search(r"Entries: +2 \(bind 1, unbind 1\)", said)
