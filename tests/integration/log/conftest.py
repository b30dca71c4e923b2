"""A log of 100,000 entries behind the real server, which tests tamper with in its database."""

import fcntl
import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sydent_py import installation
from sydent_py.cli.log import log as log_command
from sydent_py.clock import SystemClock
from sydent_py.log.leaf import Leaf
from sydent_py.log.seen import Seen
from sydent_py.log.sequencer import Sequencer
from sydent_py.settings import Settings
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import SigningKey
from tests.conftest import make_settings, prepared_settings, write_keys
from tests.integration.conftest import IdentityServer

ENTRIES = 100_000
KINDS = ("bind", "unbind", "bind")
NOW_MS = 1_800_000_000_000

Verify = Callable[..., Result]


def commitment(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def sequence(settings: Settings) -> None:
    database = installation.open_database(settings, 1)
    Sequencer(database, installation.read_log_key(settings), SystemClock())()
    database.close()


def build(directory: Path) -> None:
    """A database in which the sequencer has taken in 100,000 entries, what they are about being erased."""
    settings = prepared_settings(directory, f"sqlite:///{directory / 'sydent.db'}")
    installation.prepare(settings)
    rows = ((KINDS[number % 3], NOW_MS + number, commitment(number)) for number in range(ENTRIES))
    with sqlite3.connect(directory / "sydent.db") as db:
        db.executemany("INSERT INTO log_pending (kind, ts, commitment) VALUES (?, ?, ?)", rows)
    db.close()
    sequence(settings)


@pytest.fixture(scope="session")
def big_database(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Built once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    directory = (base if worker_id == "master" else base.parent) / "big-log"
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "complete").exists():
            build(directory)
            (directory / "complete").touch()
    return directory / "sydent.db"


@dataclass
class BigLog:
    """The log as it is served, and every way to tamper with it."""

    pristine: Path
    served: Path
    server: IdentityServer
    key: SigningKey
    is_changed: bool = False

    @property
    def url(self) -> str:
        return self.server.base_url

    def restore(self) -> None:
        if not self.is_changed:
            self.publish(ENTRIES)
            return
        with sqlite3.connect(self.pristine) as pristine, sqlite3.connect(self.served) as served:
            pristine.backup(served)
        pristine.close()
        served.close()
        self.is_changed = False

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Tamper with the database."""
        self.is_changed = True
        return self._execute(statement, *values)

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        with sqlite3.connect(self.served) as db:
            rows = db.execute(statement, values).fetchall()
        db.close()
        return rows

    def checkpoint(self, size: int, root: bytes | None = None, key: SigningKey | None = None) -> str:
        """What the log signs, or would have signed, at a size."""
        signer = key or self.key
        return str(signer.sign(str(Checkpoint(signer.name, size, self.root(size) if root is None else root))))

    def publish(self, size: int, checkpoint: str | None = None) -> None:
        """Serve what there was at a size."""
        note = checkpoint or self.checkpoint(size)
        self._execute("UPDATE log_head SET published_size = ?, size = ?, checkpoint = ?", size, size, note)

    def root(self, size: int) -> bytes:
        return merkle.root(size, tiles.hashes_from(self._tile))

    def rebuild(self) -> None:
        """Make the tree of the entries as they are, and sign it."""
        rows = self.sql("SELECT kind, ts, commitment FROM log_entries ORDER BY entry_index")
        grown = tiles.grow(0, [], [merkle.leaf_hash(Leaf(*row).encode()) for row in rows])
        with sqlite3.connect(self.served) as db:
            db.execute("DELETE FROM log_tiles")
            db.executemany("INSERT INTO log_tiles VALUES (?, ?, ?)", [(t.level, t.index, t.hashes) for t in grown])
        db.close()
        self.publish(len(rows))

    def _tile(self, level: int, index: int) -> bytes:
        [[hashes]] = self._execute("SELECT hashes FROM log_tiles WHERE level = ? AND tile_index = ?", level, index)
        return bytes(hashes)


@pytest.fixture(scope="session")
def served_big_log(big_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BigLog]:
    directory = tmp_path_factory.mktemp("served")
    served = directory / "sydent.db"
    shutil.copy(big_database, served)
    write_keys(directory / "data")
    key = installation.read_log_key(make_settings(directory / "data", f"sqlite:///{served}"))
    sections = {"database": {"url": f"sqlite:///{served}"}}
    with IdentityServer(directory, sections, arguments=("--no-worker",)) as server:
        yield BigLog(big_database, served, server, key)


@pytest.fixture
def big(served_big_log: BigLog) -> BigLog:
    """The log as it was before anybody tampered with it."""
    served_big_log.restore()
    return served_big_log


@pytest.fixture
def verify(state: Path) -> Verify:
    """``sydent-py log verify URL --state``."""

    def run(url: str, *arguments: str) -> Result:
        result = CliRunner().invoke(log_command, ["verify", url, "--state", str(state), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def remembered(big: BigLog, state: Path) -> bytes:
    """The whole log has been verified before: what the state file holds."""
    log, checkpoint = f"{big.url}/_matrix/identity/unstable/sydent_py/log", big.checkpoint(ENTRIES).encode()
    state.write_bytes(Seen(log, big.key.verifier_key, checkpoint, NOW_MS).encode())
    return state.read_bytes()
