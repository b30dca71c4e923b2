"""Logs of real servers on both databases, with a worker: they grow while they are verified."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import text

from sydent_py import installation
from sydent_py.clock import SystemClock
from sydent_py.database import Database
from sydent_py.log.append import Log
from sydent_py.settings import load
from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint, open_checkpoint
from tests.integration.conftest import IdentityServer
from tests.integration.log.conftest import Verify

CHECKPOINT = "/_matrix/identity/unstable/sydent_py/log/checkpoint"


class Served:
    """A server whose log is written to from here, too."""

    def __init__(self, server: IdentityServer) -> None:
        self.server = server
        settings = load(server.config)
        self.key = installation.read_log_key(settings)
        self.database: Database = installation.open_database(settings, 2)
        self.log = Log(self.key.name, installation.read_sealer(settings), SystemClock())

    def append(self, count: int) -> None:
        with self.database.begin() as db:
            for number in range(count):
                self.log.append(db, "bind", {"medium": "email", "address": f"a{number}@x.test", "mxid": "@a:x.test"})

    def size(self) -> int:
        note = self.server.request("GET", CHECKPOINT).data
        return open_checkpoint(note, self.key.verifier_key).size

    def grows_to(self, size: int) -> None:
        for _ in range(300):
            if self.size() >= size:
                return
            Event().wait(0.05)
        raise AssertionError(self.server.output.read_text())

    def sql(self, statement: str, **values: object) -> None:
        with self.database.begin() as db:
            db.execute(text(statement), values)


@pytest.fixture
def served(tmp_path: Path, empty_database_url: str) -> Iterator[Served]:
    (tmp_path / "server").mkdir()
    with IdentityServer(tmp_path / "server", {"database": {"url": empty_database_url}}) as server:
        served = Served(server)
        yield served
        served.database.close()


def test_a_log_verifies_while_it_grows_and_tampering_is_found(served: Served, verify: Verify, state: Path) -> None:
    served.append(1500)
    served.grows_to(1500)
    assert "1,500 (bind 1,500)" in verify(served.server.base_url).stdout

    sizes, stop = {1500}, Event()

    def grow() -> None:
        while not stop.wait(0.02):
            served.append(20)

    thread = Thread(target=grow)
    thread.start()
    try:
        while len(sizes) < 5:
            result = verify(served.server.base_url, "--json")
            assert result.exit_code == 0, result.output
            sizes.add(json.loads(result.stdout)["size"])
    finally:
        stop.set()
        thread.join()
    served.grows_to(max(sizes))

    before = state.read_bytes()
    served.sql("UPDATE log_entries SET ts = ts + 1 WHERE entry_index = 700")
    result = verify(served.server.base_url)
    assert (result.exit_code, "Hash 188 of tile/0/002 is not that of entry 700:" in result.stderr) == (1, True), (
        result.output
    )
    empty = Checkpoint(served.key.name, 0, merkle.EMPTY_ROOT)
    served.sql("UPDATE log_head SET size = 0, published_size = 0, checkpoint = :note", note=str(served.key.sign(str(empty))))
    result = verify(served.server.base_url)
    assert (result.exit_code, f"shrunk: it had {max(sizes):,} entries, and now has 0" in result.stderr) == (1, True), (
        result.output
    )
    assert state.read_bytes() == before


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_server_whose_key_and_log_were_replaced_is_found(served: Served, verify: Verify, state: Path) -> None:
    served.append(3)
    served.grows_to(3)
    assert verify(served.server.base_url).exit_code == 0
    before = state.read_bytes()
    served.server.stop()
    served.database.close()
    for path in [served.server.directory / "data" / "log.key", *state.parent.glob("sydent.db*")]:
        path.unlink()
    served.server.start()
    replaced = Served(served.server)
    replaced.append(5)
    replaced.grows_to(5)
    result = verify(served.server.base_url)
    replaced.database.close()
    assert result.exit_code == 1
    assert f"The log names another key: {replaced.key.verifier_key}. The one that is remembered is" in result.stderr
    assert str(served.key.verifier_key) in result.stderr
    assert len(list(state.parent.glob("state-evidence-*.txt"))) == 2
    assert state.read_bytes() == before
