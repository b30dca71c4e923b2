"""``sydent-py log status`` and ``sydent-py log show``: the operator's own log."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from unpaddedbase64 import encode_base64

from sydent_py import installation, wiring
from sydent_py.cli.log import log as log_command
from sydent_py.clock import SystemClock
from sydent_py.database import Database
from sydent_py.identifiers import UserId
from sydent_py.log.append import Log, Receipt
from sydent_py.log.sequencer import Sequencer
from sydent_py.settings import load
from sydent_py.signing import Signer
from sydent_py.tlog.note import SigningKey
from tests.conftest import write_keys
from tests.fakes.clock import FakeClock
from tests.integration.conftest import to_toml

ALICE, BOB = "@alice:hs.test", "@bob:hs.test"


@dataclass
class Operator:
    """A database with a log, and the commands that look into it; no server runs."""

    config: Path
    clock: SystemClock | FakeClock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        settings = load(self.config)
        self.key: SigningKey = installation.read_log_key(settings)
        self.signer: Signer = installation.read_signer(settings)
        self.database: Database = installation.open_database(settings, 2)
        self.log = Log(self.key.name, installation.read_sealer(settings), self.clock)

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(log_command, [*arguments, "--config", str(self.config)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def bind(self, address: str, mxid: str = ALICE, medium: str = "email") -> Receipt:
        with self.database.begin() as db:
            return self.log.append(
                db, "bind", self.signer.sign({"medium": medium, "address": address, "mxid": mxid, "ts": 1})
            )

    def erase(self, mxid: str) -> None:
        built = wiring.build(load(self.config))
        with built.database.begin() as db:
            built.bindings.mine.erase_history(db, UserId.parse(mxid))
        built.close()

    def sequence(self) -> None:
        Sequencer(self.database, self.key, SystemClock())()

    def sql(self, statement: str, **values: Any) -> None:
        with self.database.begin() as db:
            db.execute(text(statement), values)


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Path:
    write_keys(tmp_path)
    path = tmp_path / "sydent.toml"
    path.write_text(to_toml({"server": {"name": "id.test", "data_dir": str(tmp_path)}, "database": {"url": database_url}}))
    return path


@pytest.fixture
def operator(config: Path) -> Iterator[Operator]:
    operator = Operator(config)
    yield operator
    operator.database.close()


def test_status_says_how_far_the_log_is(operator: Operator) -> None:
    result = operator.run("status")
    assert result.exit_code == 0
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    assert [label for label, _ in lines[:3]] == ["Log:", "Key:", "Entries:"]
    assert ("Waiting:    0" in result.stdout, "worker" in result.stdout) == (True, False)

    for number in range(3):
        operator.bind(f"a{number}@example.org")
    operator.sequence()
    operator.bind("late@example.org")
    status = operator.json("status")
    assert status["vkey"] == str(operator.key.verifier_key)
    assert (status["origin"], status["size"], status["published_size"], status["pending"]) == ("id.test/log", 3, 3, 1)
    assert 0 <= status["oldest_pending_s"] < 10
    assert status["notes"] == []
    assert "Published:  3, signed 20" in operator.run("status").stdout


def test_status_says_when_the_worker_seems_not_to_run(operator: Operator) -> None:
    operator.log = Log(operator.key.name, operator.log.sealer, FakeClock(SystemClock().now_ms() - 11_000))
    operator.bind("alice@example.org")
    result = operator.run("status")
    assert result.exit_code == 0
    assert "Waiting:    1, the oldest for 11." in result.stdout
    assert "The oldest entry has waited for 11 s: the background worker seems not to be running." in result.stdout
    assert "Start it with 'sydent-py worker', or with 'sydent-py serve' without --no-worker." in result.stdout
    assert len(operator.json("status")["notes"]) == 1

    sequencer = Sequencer(operator.database, operator.key, SystemClock())
    batch = sequencer.next_batch()
    assert batch is not None
    assert sequencer.store(batch)
    assert "1 entries are stored and not signed yet." in operator.run("status").stdout


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE log_head SET checkpoint = 'nonsense'", "The head of the log in the database is damaged"),
        ("DELETE FROM log_head", "The head of the log in the database is damaged"),
        ("UPDATE log_head SET checkpoint = replace(checkpoint, '47DEQ', '48DEQ')", "The head of the log in the database"),
        ("UPDATE log_head SET checkpoint = replace(checkpoint, 'id.test/log', 'id.text/log')", "is not one of this log"),
    ],
)
def test_status_says_that_the_head_is_damaged(operator: Operator, damage: str, said: str) -> None:
    operator.sql(damage)
    result = operator.run("status")
    assert (result.exit_code, said in result.stderr) == (1, True), result.output
    assert "restore" in result.stderr


def test_commands_that_find_no_server_create_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["status"], ["show", "alice@example.org"]):
        result = CliRunner().invoke(log_command, arguments)
        assert result.exit_code == 1
        assert "sydent-py migrate" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_show_has_every_entry_about_an_address(operator: Operator) -> None:
    first = operator.bind("alice@example.org")
    operator.bind("bob@example.org", BOB)
    operator.bind("alice@example.org", BOB)
    operator.sequence()
    waiting = operator.bind("alice@example.org")
    result = operator.run("show", "ALICE@Example.ORG")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("  Payload:     fits the commitment\n") == 3
    assert result.stdout.count("  In the tree: yes, proved under the published checkpoint\n") == 2
    assert result.stdout.startswith("Entry 0: bind, 20")
    assert "Waits for its place: bind, " in result.stdout
    assert '"address": "alice@example.org"' in result.stdout
    assert "bob@example.org" not in result.stdout
    entries = operator.json("show", "alice@example.org")["entries"]
    assert [entry["index"] for entry in entries] == [0, 2, None]
    assert [entry["in_tree"] for entry in entries] == [True, True, None]
    assert [entry["payload"]["mxid"] for entry in entries] == [ALICE, BOB, ALICE]
    assert set(entries[0]["payload"]) == {"medium", "address", "mxid", "ts", "signatures"}
    for receipt, expected in ((first, entries[0]), (waiting, entries[2])):
        assert operator.json("show", encode_base64(receipt.commitment)) == {"entries": [expected]}
        assert operator.json("show", encode_base64(receipt.commitment, urlsafe=True)) == {"entries": [expected]}


def test_show_finds_phone_numbers(operator: Operator) -> None:
    operator.bind("447400123456", medium="msisdn")
    operator.sequence()
    for spelling in ("447400123456", "+44 7400 123456"):
        assert [entry["index"] for entry in operator.json("show", spelling)["entries"]] == [0]


def test_show_says_what_was_erased(operator: Operator) -> None:
    receipt = operator.bind("alice@example.org")
    operator.sequence()
    operator.erase(ALICE)
    result = operator.run("show", encode_base64(receipt.commitment))
    assert result.exit_code == 0
    assert "  Payload:     was erased" in result.stdout
    assert "  In the tree: yes, proved" in result.stdout
    [entry] = operator.json("show", encode_base64(receipt.commitment))["entries"]
    assert (entry["erased"], entry["payload"], entry["fits_commitment"]) == (True, None, None)
    result = operator.run("show", "alice@example.org")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        "no entry about alice@example.org. Entries whose payload was erased are found by their commitment" in result.stderr
    )


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ("nobody@example.org", 1),
        ("A" * 43, 1),
        ("-h" + "A" * 41, 1),
        ("--" + "A" * 41, 1),
        ("+447400123456", 1),
        ("x", 2),
        ("a@b@c", 2),
        ("", 2),
    ],
)
@pytest.mark.parametrize("engine", ["sqlite"])
def test_show_says_that_there_is_nothing(operator: Operator, wanted: str, status: int) -> None:
    result = operator.run("show", wanted)
    assert (result.exit_code, result.stdout) == (status, "")
    assert "no entry" in result.stderr or "neither a commitment" in result.stderr
    if status == 1:
        assert operator.json("show", wanted) == {"entries": []}


def swap_payloads(operator: Operator) -> None:
    operator.sql(
        "UPDATE log_entries SET nonce = (SELECT nonce FROM log_entries WHERE entry_index = 1) WHERE entry_index = 0"
    )


def replace_payload(operator: Operator) -> None:
    payload = operator.log.sealer.seal('{"address":"alice@example.org"}', "log.payload")
    operator.sql("UPDATE log_entries SET payload = :payload WHERE entry_index = 0", payload=payload)


def break_seal(operator: Operator) -> None:
    operator.sql("UPDATE log_entries SET payload = :payload WHERE entry_index = 0", payload=b"\x01" + bytes(50))


def lose_nonce(operator: Operator) -> None:
    operator.sql("UPDATE log_entries SET nonce = NULL WHERE entry_index = 0")


def change_ts(operator: Operator) -> None:
    operator.sql("UPDATE log_entries SET ts = 9000000000000000000 WHERE entry_index = 0")


def change_kind(operator: Operator) -> None:
    operator.sql("UPDATE log_entries SET kind = 'un\x1b[31mbind' WHERE entry_index = 0")


def move(operator: Operator) -> None:
    for old, new in ((0, -1), (1, 0), (-1, 1)):
        operator.sql("UPDATE log_entries SET entry_index = :new WHERE entry_index = :old", old=old, new=new)


def lose_tile(operator: Operator) -> None:
    operator.sql("DELETE FROM log_tiles")


PAYLOAD, TREE = "  Payload:     DOES NOT FIT THE COMMITMENT", "  In the tree: NO: THE PUBLISHED CHECKPOINT"
Tamper = Callable[[Operator], None]


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (swap_payloads, PAYLOAD),
        (replace_payload, PAYLOAD),
        (break_seal, PAYLOAD),
        (lose_nonce, PAYLOAD),
        (change_ts, TREE),
        (change_kind, TREE),
        (move, TREE),
        (lose_tile, TREE),
    ],
)
@pytest.mark.parametrize("engine", ["sqlite"])
def test_show_says_loudly_that_an_entry_is_not_what_was_logged(operator: Operator, tamper: Tamper, said: str) -> None:
    for name in ("alice", "bob", "carol"):
        operator.bind(f"{name}@example.org")
    operator.sequence()
    tamper(operator)
    result = operator.run("show", "alice@example.org")
    assert result.exit_code == 1
    assert said in result.stdout
    assert "THIS IS NOT WHAT WAS LOGGED" in result.stderr
    assert "\x1b" not in result.output
    result = operator.run("show", "alice@example.org", "--json")
    # Without the command around it, events are logged to standard output.
    [entry] = json.loads(result.stdout[result.stdout.index("{\n") :])["entries"]
    assert (result.exit_code, entry["fits_commitment"] and entry["in_tree"]) == (1, False)
    assert operator.run("show", "carol@example.org").exit_code == (0 if tamper is not lose_tile else 1)
