"""``sydent-py log verify`` against the real server: a sound log verifies, and whatever was changed is found."""

import json
import os
import pty
import re
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from sydent_py.tlog.note import SigningKey
from tests.fakes.http_server import Answer, http_server
from tests.integration.conftest import COMMAND
from tests.integration.log.conftest import ENTRIES, NOW_MS, BigLog, Verify, commitment

OTHER_KEY = SigningKey("id.test/log", b"\x07" * 32)


def test_the_command_verifies_100_000_entries_and_remembers_it(big: BigLog, tmp_path: Path) -> None:
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "HTTP_PROXY": "http://127.0.0.1:1"}
    done = subprocess.run(
        [COMMAND, "log", "verify", big.url], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "The log id.test/log is what its checkpoint says, every entry of it." in done.stdout
    assert "Entries:    100,000 (bind 66,667, unbind 33,333)" in done.stdout
    assert "Continues:  nothing, as this is its first verification" in done.stdout
    assert f"Key:        {big.key.verifier_key}" in done.stdout
    assert "The key was taken from the server itself" in done.stdout
    [path] = (tmp_path / "state" / "sydent-py").iterdir()
    assert path.name.startswith(f"127.0.0.1_{big.server.port}_matrix_identity")
    assert str(path) in done.stdout
    assert json.loads(path.read_text())["checkpoint"] == big.checkpoint(ENTRIES)
    assert list(tmp_path.iterdir()) == [tmp_path / "state"], "no ./data"


def test_a_terminal_shows_a_bar(big: BigLog, tmp_path: Path) -> None:
    big.publish(300)
    ours, theirs = pty.openpty()
    command = [COMMAND, "log", "verify", big.url, "--state", tmp_path / "state.json"]
    environ = {**os.environ, "TERM": "xterm"}
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert ("Entries verified" in shown, "300/300" in shown, "\x1b" in done.stdout) == (True, True, False)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_536, 65_537])
def test_a_log_of_any_size_verifies(big: BigLog, verify: Verify, state: Path, size: int) -> None:
    big.publish(size)
    result = verify(big.url)
    assert result.exit_code == 0, result.output
    assert f"Entries:    {size:,}" in result.stdout
    assert json.loads(state.read_text())["checkpoint"] == big.checkpoint(size)


def test_a_log_that_has_grown_continues_what_was_verified(big: BigLog, verify: Verify, state: Path) -> None:
    sizes = [0, 1, 200, 256, 300, 300, 512, 1000]
    for old, new in pairwise(sizes):
        big.publish(old)
        assert verify(big.url).exit_code == 0
        big.publish(new)
        result = verify(big.url)
        assert result.exit_code == 0, result.output
        assert f"Continues:  the checkpoint of {old:,} entries that was verified 20" in result.stdout
        assert "The key was taken" not in result.stdout
        assert json.loads(state.read_text())["checkpoint"] == big.checkpoint(new)


def test_a_url_may_name_the_log_itself(big: BigLog, verify: Verify) -> None:
    big.publish(3)
    assert verify(f"{big.url}/_matrix/identity/unstable/sydent_py/log").exit_code == 0
    result = verify(f"{big.url}/")
    assert "Continues:  the checkpoint of 3 entries" in result.stdout


def test_partial_tiles_may_be_gone_when_the_log_has_grown(big: BigLog, verify: Verify) -> None:
    """As with logs in files: the checkpoint is of one moment, and the tiles are of a later one."""
    fixed = {"/log/checkpoint": big.checkpoint(300).encode(), "/log/vkey": f"{big.key.verifier_key}\n".encode()}

    def answer(path: str) -> Answer:
        if path.endswith(".p/44"):
            return 404, {}, b""
        if path in fixed:
            return 200, {}, fixed[path]
        found = big.server.request("GET", path.replace("/log/", "/_matrix/identity/unstable/sydent_py/log/"))
        return found.status, {}, found.data

    with http_server(answer) as (port, _):
        result = verify(f"http://127.0.0.1:{port}/log")
    assert (result.exit_code, "Entries:    300" in result.stdout) == (0, True), result.output


def test_json_says_the_same(big: BigLog, verify: Verify, state: Path) -> None:
    big.publish(300)
    answer = json.loads(verify(big.url, "--json").stdout)
    assert answer == {
        "log": f"{big.url}/_matrix/identity/unstable/sydent_py/log",
        "verified": True,
        "origin": "id.test/log",
        "vkey": str(big.key.verifier_key),
        "is_key_new": True,
        "size": 300,
        "root": big.checkpoint(300).split("\n")[2],
        "entries": {"bind": 200, "unbind": 100},
        "checkpoint": big.checkpoint(300),
        "continues": None,
        "state_file": str(state),
    }
    big.publish(200)
    result = verify(big.url, "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["verified"], answer["error"]) == (1, False, "contradiction")
    assert answer["message"].startswith("The log has shrunk: it had 300 entries, and now has 200.")
    assert answer["checkpoints"] == [big.checkpoint(300), big.checkpoint(200)]
    assert [Path(path).read_text() for path in answer["evidence_files"]] == answer["checkpoints"]


# -- tampering: what is done, and what is said about it ---------------------------------------------------------------


def change_ts(big: BigLog) -> None:
    big.sql("UPDATE log_entries SET ts = ts + 1 WHERE entry_index = 20000")


def change_kind(big: BigLog) -> None:
    big.sql("UPDATE log_entries SET kind = 'erase' WHERE entry_index = 0")


def change_kind_to_nonsense(big: BigLog) -> None:
    big.sql("UPDATE log_entries SET kind = 'borrow' WHERE entry_index = 300")


def change_commitment(big: BigLog) -> None:
    big.sql("UPDATE log_entries SET commitment = ? WHERE entry_index = 99999", commitment(-1))


def drop_entry(big: BigLog) -> None:
    big.sql("DELETE FROM log_entries WHERE entry_index = 5000")


def drop_entry_and_renumber(big: BigLog) -> None:
    big.sql("DELETE FROM log_entries WHERE entry_index = 5000")
    big.sql("UPDATE log_entries SET entry_index = -entry_index WHERE entry_index > 5000")
    big.sql("UPDATE log_entries SET entry_index = -entry_index - 1 WHERE entry_index < 0")


def swap_entries(big: BigLog) -> None:
    for old, new in ((1000, -1), (30000, 1000), (-1, 30000)):
        big.sql("UPDATE log_entries SET entry_index = ? WHERE entry_index = ?", new, old)


def edit_tile(big: BigLog, level: int, index: int, offset: int) -> None:
    hashes = bytearray(big._tile(level, index))
    hashes[offset] ^= 1
    big.sql("UPDATE log_tiles SET hashes = ? WHERE level = ? AND tile_index = ?", bytes(hashes), level, index)


def edit_tile_of_level_0(big: BigLog) -> None:
    edit_tile(big, 0, 10, 32 * 7 + 3)


def edit_tile_of_level_1(big: BigLog) -> None:
    edit_tile(big, 1, 0, 32 * 255)


def cut_tile_short(big: BigLog) -> None:
    big.sql("UPDATE log_tiles SET hashes = substr(hashes, 1, 8191) WHERE level = 0 AND tile_index = 20")


def drop_tile(big: BigLog) -> None:
    big.sql("DELETE FROM log_tiles WHERE level = 0 AND tile_index = 20")


def fork(big: BigLog) -> None:
    big.sql("UPDATE log_entries SET ts = 0 WHERE entry_index = 12345")
    big.rebuild()


def rewrite_and_grow(big: BigLog) -> None:
    row = ("bind", NOW_MS, commitment(-2))
    big.sql("INSERT INTO log_entries (entry_index, kind, ts, commitment) VALUES (?, ?, ?, ?)", ENTRIES, *row)
    fork(big)


def shrink(big: BigLog) -> None:
    big.publish(99_000)


def shrink_to_nothing(big: BigLog) -> None:
    big.publish(0)


def sign_with_another_key(big: BigLog) -> None:
    big.publish(ENTRIES, big.checkpoint(ENTRIES, key=OTHER_KEY))


def sign_as_another_log(big: BigLog) -> None:
    big.publish(ENTRIES, big.checkpoint(ENTRIES, key=SigningKey("id.example/log", big.key.seed)))


def edit_root(big: BigLog) -> None:
    [[note]] = big.sql("SELECT checkpoint FROM log_head")
    lines = note.split("\n")
    lines[2] = big.checkpoint(5).split("\n")[2]
    big.publish(ENTRIES, "\n".join(lines))


def edit_size(big: BigLog) -> None:
    [[note]] = big.sql("SELECT checkpoint FROM log_head")
    big.publish(ENTRIES, note.replace("\n100000\n", "\n100001\n"))


def sign_another_root(big: BigLog) -> None:
    big.publish(ENTRIES, big.checkpoint(ENTRIES, root=big.root(5)))


TAMPERING: list[tuple[Callable[[BigLog], None], str]] = [
    (change_ts, r"Hash 32 of tile/0/078 is not that of entry 20,000: one of them was changed"),
    (change_kind, r"Hash 0 of tile/0/000 is not that of entry 0:"),
    (change_kind_to_nonsense, r"Hash 44 of tile/0/001 is not that of entry 300:"),
    (change_commitment, r"Hash 159 of tile/0/390\.p/160 is not that of entry 99,999:"),
    (drop_entry, r"tile/entries/019 answered with status 503: This part of the log is missing"),
    (drop_entry_and_renumber, r"Hash 136 of tile/0/019 is not that of entry 5,000:"),
    (swap_entries, r"Hash 232 of tile/0/003 is not that of entry 1,000:"),
    (edit_tile_of_level_0, r"Hash 7 of tile/0/010 is not that of entry 2,567:"),
    (edit_tile_of_level_1, r"Hash 255 of tile/1/000 is not that of the entries 65,280 to 65,535: one of them was changed"),
    (
        cut_tile_short,
        r"tile/0/020 answered with status 503: This part of the log is missing: the server's database is damaged",
    ),
    (drop_tile, r"tile/0/020 answered with status 503: This part of the log is missing"),
    (fork, r"The log has two trees of 100,000 entries, and signed both: it was forked"),
    (rewrite_and_grow, r"The log was rewritten: its first 100,000 entries are not those of the checkpoint seen before"),
    (shrink, r"The log has shrunk: it had 100,000 entries, and now has 99,000"),
    (shrink_to_nothing, r"The log has shrunk: it had 100,000 entries, and now has 0"),
    (sign_with_another_key, r"not one of this log: the checkpoint has no valid signature of id\.test/log\+[0-9a-f]{8}\+"),
    (sign_as_another_log, r"not one of this log: the checkpoint is of the log 'id\.example/log' and not of 'id\.test/log'"),
    (edit_root, r"not one of this log: the checkpoint has no valid signature of id\.test/log"),
    (edit_size, r"not one of this log: the checkpoint has no valid signature of id\.test/log"),
    (sign_another_root, r"two trees of 100,000 entries, and signed both: it was forked"),
]


@pytest.mark.usefixtures("remembered")
@pytest.mark.parametrize(("tamper", "said"), TAMPERING, ids=[tamper.__name__ for tamper, _ in TAMPERING])
def test_tampering_is_found(big: BigLog, verify: Verify, state: Path, tamper: Callable[[BigLog], None], said: str) -> None:
    remembered = state.read_bytes()
    tamper(big)
    result = verify(big.url)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert re.search(said, result.stderr), result.stderr
    assert state.read_bytes() == remembered


def test_evidence_of_a_fork_is_both_checkpoints_in_full_and_in_files(
    big: BigLog, verify: Verify, state: Path, remembered: bytes
) -> None:
    fork(big)
    [[forked]] = big.sql("SELECT checkpoint FROM log_head")
    for _ in range(2):
        said = verify(big.url).stderr
        paths = sorted(state.parent.glob("state-evidence-*.txt"))
        assert {path.read_text() for path in paths} == {json.loads(remembered)["checkpoint"], forked}
        assert all(str(path) in said for path in paths)
        assert f"Checkpoint 2 of 2:\n\n{forked}" in said
        assert "Show this to the operator of the log, and to the operators of servers that follow it." in said


def test_a_tree_that_the_entries_do_not_make_is_found_without_a_memory(big: BigLog, verify: Verify, state: Path) -> None:
    big.publish(1000, big.checkpoint(1000, root=big.root(5)))
    result = verify(big.url)
    assert result.exit_code == 1
    assert "The checkpoint signs another tree than that of the log's entries" in result.stderr
    assert not state.exists()


def test_a_change_of_what_was_remembered_is_not_called_rewriting_when_the_tiles_disagree(
    big: BigLog, verify: Verify
) -> None:
    big.publish(900)
    assert verify(big.url).exit_code == 0
    big.publish(1000)
    big.sql("UPDATE log_entries SET ts = 0 WHERE entry_index = 890")
    result = verify(big.url)
    assert "Hash 122 of tile/0/003.p/232 is not that of entry 890" in result.stderr


# -- keys and state files ---------------------------------------------------------------------------------------------


def test_a_key_that_is_pinned_has_to_be_the_log_s(big: BigLog, verify: Verify, state: Path) -> None:
    big.publish(3)
    result = verify(big.url, "--key", str(OTHER_KEY.verifier_key))
    assert result.exit_code == 1
    assert f"The log names another key: {big.key.verifier_key}. The one that is pinned is {OTHER_KEY.verifier_key}" in (
        result.stderr
    )
    assert not state.exists()
    result = verify(big.url, "--key", str(big.key.verifier_key))
    assert result.exit_code == 0
    assert "The key was taken" not in result.stdout
    result = verify(big.url, "--key", str(OTHER_KEY.verifier_key))
    assert result.exit_code == 1
    assert f"The state file {state} remembers the key {big.key.verifier_key}" in result.stderr


def break_checkpoint(content: bytes) -> bytes:
    return content.replace(b"\\n100000\\n", b"\\n99000\\n")


def break_key(content: bytes) -> bytes:
    return content.replace(b'"key": "id.test', b'"key": "id.tesT')


DAMAGE: list[Callable[[bytes], bytes]] = [
    lambda _: b"",
    lambda _: b"{}",
    lambda _: b"\xff\xfe",
    lambda _: b'{"log": 1, "key": 2, "checkpoint": 3, "verified_at_ms": 4}',
    lambda content: content[:-3],
    lambda content: content[: len(content) // 2],
    break_checkpoint,
    break_key,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_file_is_said_and_kept(
    served_big_log: BigLog, verify: Verify, state: Path, remembered: bytes, damage: Callable[[bytes], bytes]
) -> None:
    damaged = damage(remembered)
    assert damaged != remembered
    state.write_bytes(damaged)
    result = verify(served_big_log.url)
    assert result.exit_code == 1
    assert f"The state file {state} is damaged. Put it back from a backup." in result.stderr
    assert state.read_bytes() == damaged


def test_a_state_file_that_cannot_be_read_is_said(served_big_log: BigLog, verify: Verify, state: Path) -> None:
    state.mkdir()
    result = verify(served_big_log.url)
    assert (result.exit_code, f"The state file {state} cannot be read: Is a directory" in result.stderr) == (1, True)


def test_a_state_file_of_another_log_is_said(served_big_log: BigLog, verify: Verify, state: Path, remembered: bytes) -> None:
    result = verify(f"{served_big_log.url}/elsewhere/log")
    assert result.exit_code == 1
    assert f"The state file {state} is of another log, {served_big_log.url}/_matrix" in result.stderr
    assert state.read_bytes() == remembered


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("ftp://id.test",),
        ("id.test",),
        ("https://",),
        ("https://user@id.test",),
        ("https://id.test/?x=1",),
        ("https://id.test:99999",),
        ("https://[::1",),
        ("https://bücher.example",),
        ("https://id.test/\x1b[2J",),
        ("https://id.test", "--key", "nonsense"),
        ("https://id.test", "--ca-file", "/nonexistent"),
        ("https://id.test", "--ca-file", __file__),
    ],
)
def test_wrong_usage_is_status_2(verify: Verify, arguments: tuple[str, ...]) -> None:
    result = verify(*arguments) if arguments else verify("")
    assert result.exit_code == 2, result.output
    assert "\x1b" not in result.stderr
