"""``sydent-py keys show | verify | history``: what is good is said, and what is wrong, with status 1."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sydent_py.cli import cli
from sydent_py.keys.chain import RESET_WAIT_MS
from sydent_py.tlog.note import SigningKey
from tests.fakes.key_log import HOUR_MS, KeyLog, seed
from tests.fakes.key_owner import KeyOwner, cross_signing_key, public
from tests.integration.keys.conftest import Run, Shown, new_world, pins
from tests.unit.keys.conftest import ALICE, NEW, OLD, OTHER_WITNESS, THIRD, WITNESS, World

Serve = Callable[[KeyLog], Shown]


def test_the_keys_that_count_are_shown(server: Shown, world: World, run: Run) -> None:
    server.world(world)
    said = run("show", server).stdout
    assert f"The keys of {ALICE} at id.test:" in said
    assert f"Master key:  {public(OLD)}" in said
    assert "by statement 1: publish" in said
    assert "Proof:       entry 2 of id.test/log, proved under its checkpoint of 3 entries" in said
    assert "Witnesses:   none was named" in said
    assert (
        "These keys of id.test were not pinned: they were taken from the server itself, and so prove nothing against it."
        in said
    )
    assert f"  --log-key '{world.log.key.verifier_key}'\n  --verify-key '{world.log.verify_key}'\n" in said


def test_pinned_keys_are_not_asked_for(server: Shown, world: World, run: Run) -> None:
    server.world(world)
    server.log = KeyLog("thief.test")
    for arguments in (pins(world.log), ["--log-key", str(world.log.key.verifier_key), "--verify-key", world.log.verify_key]):
        assert "not pinned" not in run("show", server, *arguments).stdout
    server.log = world.log
    half = run("show", server, "--log-key", str(world.log.key.verifier_key)).stdout
    assert (f"--verify-key '{world.log.verify_key}'" in half, "--log-key" in half) == (True, False)


def test_all_that_the_master_key_vouches_for_is_shown(server: Shown, run: Run) -> None:
    world = new_world()
    applications = {"openpgp": "6A5B 1F2C", "ssh": "SHA256:uNiV"}
    more = {"curve25519": {"JLAF\u202eKJ": public(THIRD)}, "application": applications}
    world.state("publish", OLD, keys={"master": cross_signing_key(ALICE, OLD), **more})
    said = run("show", server.world(world)).stdout
    assert f"Curve25519:  JLAF\\u202eKJ: {public(THIRD)}" in said
    assert "openpgp:     6A5B 1F2C" in said
    assert "ssh:         SHA256:uNiV" in said


def test_a_history_is_listed(server: Shown, world: World, run: Run) -> None:
    world.state("reset", NEW).wait(HOUR_MS).state("cancel", OLD).state("rotate", THIRD, OLD, THIRD)
    said = run("history", server.world(world)).stdout
    listed = [line.split() for line in said.splitlines() if line.split()[:1] in (["1"], ["2"], ["3"], ["4"])]
    assert [(line[4], line[5].rstrip(",")) for line in listed] == [
        ("publish", public(OLD)), ("reset", public(NEW)), ("cancel", public(OLD)), ("rotate", public(THIRD)),
    ]  # fmt: skip
    assert said.count(", counts from 20") == 1
    answer = json.loads(run("history", server, "--json").stdout)
    statements = answer["origins"]["id.test"]["statements"]
    assert [(each["seq"], each["op"], each["index"]) for each in statements] == [
        (1, "publish", 2), (2, "reset", 5), (3, "cancel", 8), (4, "rotate", 11),
    ]  # fmt: skip


def test_the_whole_chain_is_verified(server: Shown, world: World, run: Run) -> None:
    server.world(world.state("rotate", NEW, OLD, NEW))
    said = run("verify", server).stdout
    assert "History:     2 statements, every one proved, and each continues the one before" in said


def test_a_reset_that_waits_is_said(server: Shown, world: World, run: Run) -> None:
    world.wait(100 * HOUR_MS).state("reset", NEW)
    server.world(world, 0, 1)
    for command in ("show", "verify", "history"):
        said = run(command, server).stdout
        assert f"Master key:  {public(OLD)}" in said
        assert f"on the master key is {public(NEW)},\n               unless the key above cancels that." in said
    found = json.loads(run("verify", server, "--json").stdout)["origins"]["id.test"]
    assert (found["pending"]["master"], found["pending"]["counts_from_ms"]) == (public(NEW), world.now_ms + RESET_WAIT_MS)


def test_json_says_the_same(server: Shown, world: World, run: Run) -> None:
    server.world(world)
    answer = json.loads(run("verify", server, *pins(world.log), "--witness", str(WITNESS.verifier_key), "--json").stdout)
    assert answer == {
        "user_id": ALICE,
        "server": server.url,
        "verified": True,
        "origins": {
            "id.test": {
                "verified": True,
                "log": str(world.log.key.verifier_key),
                "unpinned": [],
                "master": public(OLD),
                "seq": 1,
                "op": "publish",
                "ts": world.now_ms,
                "index": 2,
                "keys": {"master": cross_signing_key(ALICE, OLD)},
                "witnesses": ["b.test/witness"],
                "pending": None,
                "checkpoint": str(world.log.checkpoint(3)),
            }
        },
        "not_verified": {},
    }


def test_witnesses_are_required_where_they_are_named(server: Shown, world: World, run: Run) -> None:
    server.world(world)
    both = [
        "--witness",
        str(WITNESS.verifier_key),
        "--witness",
        str(SigningKey("c.test/log", OTHER_WITNESS.seed).verifier_key),
    ]
    assert "Witnesses:   b.test/witness, c.test/witness" in run("show", server, *both).stdout
    stranger = ["--witness", str(SigningKey("d.test/log", seed("d")).verifier_key)]
    failed = run("show", server, *both, *stranger, status=1)
    assert "are not verified: 2 of the known witnesses have cosigned it, and 3 are required." in failed.stderr
    run("show", server, *both, *stranger, "--required", "2")
    run("show", server, *both, "--max-age", "7200")
    old = run("verify", server, *both, "--max-age", "1800", status=1)
    assert "not longer than 1800 s ago" in old.stderr


def test_what_is_not_proved_yet_is_waited_for(server: Shown, world: World, run: Run) -> None:
    waiting = world.answer()
    waiting["origins"]["id.test"]["current"]["proof"] = None
    server.answers.append(waiting)
    server.world(world)
    assert public(OLD) in run("show", server).stdout
    server.answers[:] = [waiting]
    assert "has no proof yet: please ask again in a moment" in run("show", server, status=1).stderr


def test_what_changes_between_two_requests_is_asked_again(server: Shown, world: World, run: Run) -> None:
    server.answers.append(world.answer())
    server.world(world.state("rotate", NEW, OLD, NEW))
    assert public(NEW) in run("verify", server).stdout


def test_a_server_that_changes_a_key_by_itself_is_found(server: Shown, world: World, run: Run) -> None:
    server.world(world.state("rotate", THIRD, THIRD))
    failed = run("verify", server, status=1)
    assert (
        f"Error: the keys of {ALICE} at id.test are not verified: statement 2: it must be signed with exactly these"
        in failed.stderr
    )
    answer = json.loads(run("verify", server, "--json", status=1).stdout)
    assert (answer["verified"], answer["origins"]["id.test"]["reason"]) == (False, "user_signature")


def test_another_key_than_the_pinned_one_is_said(server: Shown, world: World, run: Run) -> None:
    server.world(world)
    thief = KeyLog("id.test").key.verifier_key
    assert str(thief) == str(world.log.key.verifier_key)
    stolen = SigningKey("id.test/log", seed("thief")).verifier_key
    failed = run("show", server, "--log-key", str(stolen), "--verify-key", world.log.verify_key, status=1)
    assert "the checkpoint has no valid signature of id.test/log" in failed.stderr
    wrong = KeyLog("thief.test").verify_key
    failed = run("show", server, "--verify-key", wrong, status=1)
    assert "no known key of id.test has signed what is said in its name" in failed.stderr


def test_nothing_published_is_said(server: Shown, run: Run) -> None:
    failed = run("show", server, status=1)
    assert failed.stderr == f"Error: {server.url} knows of no published keys of {ALICE}.\n"
    answer = json.loads(run("verify", server, "--json", status=1).stdout)
    assert (answer["verified"], answer["error"]) == (False, "unpublished")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"user_id": NaN}', b'{"a":1,"a":2}'])
def test_what_is_no_json_is_said(server: Shown, run: Run, content: bytes) -> None:
    server.show(content, content)
    for command in ("show", "verify", "history"):
        assert "answers is not JSON as it must be." in run(command, server, status=1).stderr


@pytest.mark.parametrize(
    "content", [{}, {"origins": []}, {"user_id": ALICE, "origins": {"id.test": []}}, {"user_id": ALICE, "origins": {}}]
)
def test_any_json_gets_a_reason(server: Shown, run: Run, content: Any) -> None:
    server.show(content, content)
    for command in ("show", "verify", "history"):
        assert "are not verified: " in run(command, server, status=1).stderr


def test_a_server_that_is_not_there_or_something_else_is_said(server: Shown, serve: Serve, run: Run) -> None:
    nowhere = Shown(server.log, url="http://127.0.0.1:1")
    assert "cannot be reached" in run("show", nowhere, status=1).stderr
    answer = json.loads(run("show", nowhere, "--json", status=1).stdout)
    assert (answer["verified"], answer["error"]) == (False, "unavailable")
    other = serve(server.log)
    other.url += "/elsewhere"
    assert "is this the URL of a sydent_py server?" in run("show", other, *pins(server.log), status=1).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "alice", "--server", "http://127.0.0.1:1"],
        ["show", ALICE],
        ["show", ALICE, "--server", "id.test"],
        ["show", ALICE, "--server", "http://127.0.0.1:1", "--log-key", "?"],
        ["show", ALICE, "--server", "http://127.0.0.1:1", "--log-key", str(SigningKey("id.test", bytes(32)).verifier_key)],
        ["show", ALICE, "--server", "http://127.0.0.1:1", "--verify-key", "ed25519:0"],
        ["show", ALICE, "--server", "http://127.0.0.1:1", "--verify-key", "id.test ed25519:0 AAAA"],
        ["show", ALICE, "--server", "http://127.0.0.1:1", "--verify-key", "id.test"],
        ["show", ALICE, "--server", "http://127.0.0.1:1", "--witness", "b.test"],
        ["show", ALICE, "--server", "https://127.0.0.1:1", "--ca-file", __file__],
        ["verify", ALICE, "--server", "http://127.0.0.1:1", "--keys-query", __file__],
        ["verify", ALICE, "--server", "http://127.0.0.1:1", "--against", "id.test"],
    ],
)
def test_wrong_usage_has_status_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, ["keys", *arguments])
    assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output


def test_of_several_origins_those_are_verified_whose_keys_are_named(server: Shown, world: World, run: Run) -> None:
    other = World(KeyLog("b.test"), KeyOwner(ALICE, "b.test/log"), world.now_ms).state("publish", OLD)
    both = world.answer()
    both["origins"]["b.test"] = other.answer()["origins"]["b.test"]
    histories = world.history()
    histories["origins"]["b.test"] = other.history()["origins"]["b.test"]
    server.show(both, histories)
    said = run("verify", server)
    assert "b.test is said to have the same master key. That was not verified" in said.stderr
    said = run("verify", server, *pins(world.log), *pins(other.log))
    assert (said.stderr, said.stdout.count("Master key:  ")) == ("", 2)
    failed = run("verify", server, "--log-key", str(other.log.key.verifier_key), status=2)
    assert "is not b.test: name that server's keys" in failed.stderr


def test_origins_that_disagree_are_both_shown(server: Shown, world: World, run: Run) -> None:
    other = World(KeyLog("b.test"), KeyOwner(ALICE, "b.test/log"), world.now_ms).state("publish", NEW)
    both = world.answer()
    both["origins"]["b.test"] = other.answer()["origins"]["b.test"]
    server.show(both, None)
    failed = run("show", server, *pins(world.log), *pins(other.log), status=1)
    assert (public(OLD) in failed.stdout, public(NEW) in failed.stdout) == (True, True)
    assert "Error: id.test and b.test have different master keys of this user." in failed.stderr
    assert f"b.test is said to have the master key {public(NEW)}" in run("show", server).stderr


def test_a_peer_that_says_the_same_is_said(server: Shown, serve: Serve, world: World, run: Run) -> None:
    peer = serve(KeyLog("b.test")).world(world)
    server.world(world)
    said = run("verify", server, "--against", peer.url)
    assert f"Compared with id.test, and what {peer.url} has of it: Both show the same." in said.stdout
    server.world(world.state("rotate", NEW, OLD, NEW))
    server.answers.pop(0)
    server.histories.pop(0)
    said = run("verify", server, "--against", peer.url)
    assert "Both show the same chain, one up to statement 1 and the other up to 2." in said.stdout
    assert "THERE" not in said.stdout


def test_a_server_that_keeps_the_newest_statement_back_is_found(server: Shown, serve: Serve, world: World, run: Run) -> None:
    """The old key may be what was stolen."""
    server.world(world)
    peer = serve(KeyLog("b.test")).world(world.state("rotate", NEW, OLD, NEW))
    failed = run("verify", server, "--against", peer.url, status=1)
    assert f"id.test shows less than {peer.url} has of it." in failed.stderr
    answer = json.loads(run("verify", server, "--against", peer.url, "--json", status=1).stdout)
    assert (answer["verified"], answer["against"][0]["verdict"]) == (False, "here_is_behind")


def test_a_server_that_lies_about_a_key_is_caught_with_the_evidence(
    server: Shown, serve: Serve, world: World, run: Run
) -> None:
    """It shows everybody else what it shows its peers, and one person a key of its own, in a log of its own."""
    lie = World(world.log.fork(0), KeyOwner(ALICE), world.now_ms)
    lie.log.fill(3)
    server.world(lie.state("publish", THIRD))
    peer = serve(KeyLog("b.test")).world(world)
    for command in ("show", "verify", "history"):
        assert public(THIRD) in run(command, server).stdout
    failed = run("verify", server, "--against", peer.url, status=1)
    assert f"Error: id.test, and what {peer.url} has of it do not go together." in failed.stderr
    assert (public(OLD) in failed.stderr, public(THIRD) in failed.stderr) == (True, True)
    [against] = json.loads(run("verify", server, "--against", peer.url, "--json", status=1).stdout)["against"]
    assert against["verdict"] in {"contradiction", "replaced"}
    evidence = [lie.history(), world.history()]
    assert against["evidence"] == [each["origins"]["id.test"]["entries"][0] for each in evidence]


def test_a_server_without_an_opinion_was_not_compared(server: Shown, serve: Serve, world: World, run: Run) -> None:
    server.world(world)
    silent = serve(KeyLog("b.test"))
    failed = run("verify", server, "--against", silent.url, status=1)
    assert f"Error: {silent.url} was not compared. {silent.url} knows of no published keys of {ALICE}." in failed.stderr
    other = serve(KeyLog("b.test")).world(new_world("c.test").state("publish", OLD))
    failed = run("verify", server, "--against", other.url, status=1)
    assert "What it shows of id.test does not count: " in failed.stderr
    answer = json.loads(run("verify", server, "--against", other.url, "--json", status=1).stdout)
    assert answer["against"][0]["verdict"] is None


@pytest.mark.parametrize(
    ("master", "status", "words", "match"),
    [
        (OLD, 0, "The homeserver serves the same master key.", "match"),
        (THIRD, 1, "Error: The homeserver serves ANOTHER master key", "mismatch"),
        (NEW, 1, "Error: The homeserver serves the master key of the reset that waits.", "pending"),
        (None, 1, "Error: The homeserver serves no master key of this user.", "not_served"),
    ],
)
def test_a_homeserver_is_compared(
    server: Shown, world: World, run: Run, tmp_path: Path, *, master: Any, status: int, words: str, match: str
) -> None:
    server.world(world.wait(100 * HOUR_MS).state("reset", NEW), 0, 1)
    content = json.dumps({"master_keys": {ALICE: cross_signing_key(ALICE, master)} if master else {}})
    (tmp_path / "answer.json").write_text(content)
    assert words in run("verify", server, "--keys-query", str(tmp_path / "answer.json"), status=status).output
    answer = json.loads(run("verify", server, "--keys-query", "-", "--json", input=content, status=status).stdout)
    assert answer["homeserver"] == match
