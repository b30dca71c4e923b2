"""The benchmark runs, finds right answers, and notices wrong ones. Nothing here asserts on time."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from sydent_py.tlog import merkle, tiles
from tests.bench.client import WrongAnswer, check
from tests.bench.log.verify import root_of
from tests.bench.work import LOOKUP, Dataset, Plan, Work, queries

ROOT = Path(__file__).parents[2]
BINDINGS = 2000
ENTRIES = 1000


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_small_run_measures_everything(database: str, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    # A socket's path has at most 107 bytes, so the directory must not be deep in pytest's.
    with tempfile.TemporaryDirectory(prefix="sydent-bench-") as cache:
        command = [sys.executable, "-m", "tests.bench", "--quick", "--rounds", "1"]
        command += ["--bindings", str(BINDINGS), "--entries", str(ENTRIES)]
        command += ["--database", database, "--cache", cache, "--json", str(output)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    # A wrong answer of the server or of the probe ends the run.
    assert run.returncode == 0, run.stderr
    assert "lookup of 1000 at most 3.0x the probe" in run.stdout

    figures = json.loads(output.read_text())
    assert (figures["bindings"], figures["entries"]) == (BINDINGS, ENTRIES)
    [of_lookups], [of_log] = figures["results"]["lookups"], figures["results"]["log"]
    for result in (of_lookups, of_log):
        assert result["database"].startswith(database)
    lookups_are_measured(of_lookups, has_backends=database == "postgresql")
    the_log_is_measured(of_log, has_backends=database == "postgresql")


def lookups_are_measured(result: dict[str, Any], *, has_backends: bool) -> None:
    assert {(row["work"], row["connections"]) for row in result["figures"]} == {
        (work, connections)
        for work in ("GET /versions", "GET /account", *(f"{LOOKUP} ({hashes})" for hashes in (1, 100, 1000)))
        for connections in (1, 16)
    }
    for row in result["figures"]:
        assert row["requests_per_s"] > 0
        assert row["p50_ms"] > 0
        assert row["server_cpu_ms"] > 0
        if not has_backends:
            assert row["backend_cpu_ms"] == 0
        elif row["work"] != "GET /versions":
            assert row["backend_cpu_ms"] > 0
        assert (row["ratio"] is not None) == (row["hashes"] > 0)
    assert 0 < result["worker_memory_mb"]["uss"] <= result["worker_memory_mb"]["rss"]
    assert set(result["one_hash_to_account"]) == {"1", "16"}


def the_log_is_measured(result: dict[str, Any], *, has_backends: bool) -> None:
    figures = result["figures"]
    yardsticks, asks_database = (
        {"insert", "move", "hash", "parse", "start", "signatures"},
        {"append", "sequence", "audit", "read", "server", "follow"},
    )
    assert set(figures) == yardsticks | asks_database | {"check", "command"}
    for key, row in figures.items():
        assert row["entries_per_s"] > 0
        assert row["wall_us"] > 0
        assert row["cpu_us"] > 0
        assert (row["backend_cpu_us"] > 0) == (has_backends and key in asks_database | {"insert", "move"})
        assert (row["ratio"] is not None) == (key not in yardsticks | {"read", "server"})
    assert min(result["memory"]["audit_mb"]) >= 0
    assert min(result["memory"]["command_mb"]) > 0


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
def test_the_hashes_of_the_yardstick_are_those_of_the_tree(size: int) -> None:
    leaves = [f"leaf {number}".encode() for number in range(size)]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    tile = b"".join(hashes)
    assert root_of(leaves) == merkle.root(size, tiles.hashes_from(lambda _level, _index: tile))


@pytest.fixture
def plan() -> Plan:
    return Plan(Work(LOOKUP, 5, 20), Dataset(BINDINGS, "pepper", "token", bytes(32), "sqlite://"), "seed")


def answer(mappings: dict[str, str], status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\n\r\n{json.dumps({'mappings': mappings})}".encode()


def right_answers(plan: Plan) -> list[dict[str, str]]:
    return [{text: user for text, user in query.items() if user is not None} for query in queries(plan)]


def test_half_of_the_hashes_are_bound_and_each_request_has_its_own(plan: Plan) -> None:
    assert [len(query) for query in queries(plan)] == [20] * 5
    assert [len(bound) for bound in right_answers(plan)] == [10] * 5
    assert len(set().union(*queries(plan))) > 20
    check(plan, [answer(bound) for bound in right_answers(plan)])


def test_a_wrong_answer_is_noticed(plan: Plan) -> None:
    right = right_answers(plan)
    one_missing = [*right[:4], dict(list(right[4].items())[1:])]
    one_mistaken = [{**right[0], next(iter(right[0])): "@somebody:else"}, *right[1:]]
    for wrong in (one_missing, one_mistaken):
        with pytest.raises(WrongAnswer):
            check(plan, [answer(bound) for bound in wrong])
    with pytest.raises(WrongAnswer):
        check(plan, [answer(bound, "429 Too Many Requests") for bound in right])
