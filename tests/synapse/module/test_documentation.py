"""docs/homeserver.md, followed as written: its configuration, and its commands, on loopback."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.fakes.smtp import SmtpServer
from tests.fakes.tls import CertificateAuthority
from tests.synapse.homeserver import ROOT
from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.person import Person
from tests.synapse.waiting import eventually

TEXT = (ROOT / "docs" / "homeserver.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def trusting(authority: CertificateAuthority, smtp: SmtpServer, tmp_path: Path) -> Iterator[TrustingServer]:
    directory = tmp_path / "trusting"
    directory.mkdir()
    server = TrustingServer(directory, authority, smtp, {})
    yield server
    server.__exit__(None, None, None)


def run(command: str, homeserver: ModuleSynapse, person: Person) -> str:
    """A command of the page, for this homeserver and this user."""
    command = command.replace("https://your-homeserver", f"http://localhost:{homeserver.client_port}")
    command = command.replace("@alice:example.org", person.user_id)
    environ = {**os.environ, "ACCESS_TOKEN": person.access_token}
    return subprocess.run(
        ["bash", "-c", command], env=environ, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_from_nothing_to_working(
    configured: ModuleSynapse, trusting: TrustingServer, authority: CertificateAuthority, tmp_path: Path
) -> None:
    [trust], [modules] = blocks("toml"), blocks("yaml")
    with trusting.process.config.open("a") as config:
        config.write("\n" + trust.replace('name = "example.org"', f'name = "{configured.name}"'))
    trusting.process.start()
    [module] = yaml.safe_load(modules.replace("https://id.example.org", trusting.proxy.url))["modules"]
    ca_file = str(authority.write_root(tmp_path / "ca.pem"))
    configured.configure({**module["config"], "ca_file": ca_file})
    configured.start()
    eventually(lambda: f"Self-test: {trusting.name} (version " in configured.log.read_text(), "the self-test")
    alice = configured.register("alice")
    configured.give(alice, "alice@example.org", "alice@elsewhere.example")
    account = alice.account_at(trusting)
    eventually(lambda: account.lookup("alice@example.org") == alice.user_id, "the address is found")
    [show, opt_out] = [block for block in blocks("sh") if block.startswith("curl")]
    status = json.loads(run(show, configured, configured.admin))
    assert (status["published"], status["queue"]["waiting"], status["self_test"]["problems"]) == (1, 0, [])
    assert account.lookup("alice@elsewhere.example") is None
    run(opt_out, configured, alice)
    eventually(lambda: account.lookup("alice@example.org") is None, "the address is withdrawn")
