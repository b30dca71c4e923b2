"""The workers of real servers have their logs cosigned, and ``sydent-py log verify --against`` finds that all saw the same."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from sydent_py.cli.log import log as log_command
from sydent_py.tlog.cosignature import cosigned_at
from sydent_py.tlog.note import Note
from tests.driver import OWN
from tests.integration.replication.conftest import Node, Trio, wait_until
from tests.usecases.replication.conftest import log_key
from tests.usecases.replication.test_witness import witness_key

pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
    pytest.mark.xdist_group("trio"),
]


def is_cosigned(node: Node, *witnesses: str) -> bool:
    note = Note.parse(node.server.request("GET", f"{OWN}/log/checkpoint").data)
    return all(cosigned_at(note, witness_key(name)) is not None for name in witnesses)


def test_a_log_is_cosigned_by_those_who_follow_it(trio: Trio, tmp_path: Path) -> None:
    a, b, c = trio.values()
    a.bind("alice", "alice@example.org")
    wait_until(lambda: is_cosigned(a, "b.test", "c.test"))
    keys = [argument for name in ("b.test", "c.test") for argument in ("--witness-key", str(log_key(name).verifier_key))]
    against = [argument for node in (b, c) for argument in ("--against", node.server.base_url)]
    arguments = ["verify", a.server.base_url, "--state", str(tmp_path / "state.json"), *against, *keys]
    result = CliRunner().invoke(log_command, arguments)
    assert result.exit_code == 0, result.output
    for name in ("b.test", "c.test"):
        assert f"the cosignature of {name}/witness is valid." in result.stdout
    assert result.stdout.count("saw the same tree of 1 entry at 20") == 2
