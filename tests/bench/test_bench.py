"""The benchmark runs, finds right answers, and notices wrong ones. Nothing here asserts on time."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.bench.client import WrongAnswer, check
from tests.bench.work import LOOKUP, Dataset, Plan, Work, queries

ROOT = Path(__file__).parents[2]
BINDINGS = 2000


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_small_run_measures_everything(database: str, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    # A socket's path has at most 107 bytes, so the directory must not be deep in pytest's.
    with tempfile.TemporaryDirectory(prefix="sydent-bench-") as cache:
        command = [sys.executable, "-m", "tests.bench", "--quick", "--rounds", "1", "--bindings", str(BINDINGS)]
        command += ["--database", database, "--cache", cache, "--json", str(output)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    # A wrong answer of the server or of the probe ends the run.
    assert run.returncode == 0, run.stderr
    assert "lookup of 1000 at most 3.0x the probe" in run.stdout

    figures = json.loads(output.read_text())
    [result] = figures["results"]
    assert figures["bindings"] == BINDINGS
    assert result["database"].startswith(database)
    assert {(row["work"], row["connections"]) for row in result["figures"]} == {
        (work, connections)
        for work in ("GET /versions", "GET /account", *(f"{LOOKUP} ({hashes})" for hashes in (1, 100, 1000)))
        for connections in (1, 16)
    }
    for row in result["figures"]:
        assert row["requests_per_s"] > 0
        assert row["p50_ms"] > 0
        assert row["server_cpu_ms"] > 0
        if database == "sqlite":
            assert row["backend_cpu_ms"] == 0
        elif row["work"] != "GET /versions":
            assert row["backend_cpu_ms"] > 0
        assert (row["ratio"] is not None) == (row["hashes"] > 0)
    assert 0 < result["worker_memory_mb"]["uss"] <= result["worker_memory_mb"]["rss"]
    assert set(result["one_hash_to_account"]) == {"1", "16"}


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
