"""What is remembered of a log: never lost, never half written, never moved by two at once."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sydent_py.log.seen import Seen, StateError, StateFile, default_path
from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import SigningKey

KEY = SigningKey("id.tést/log", b"\x01" * 32)
NOTE = str(KEY.sign(str(Checkpoint(KEY.name, 0, merkle.EMPTY_ROOT, ("ünïcode \u202e\x9b",))))).encode()
LOG = "https://id.test/log"
SEEN = Seen(LOG, KEY.verifier_key, NOTE, 1_800_000_000_000)


def test_what_is_written_is_read_again_to_the_byte(tmp_path: Path) -> None:
    state, seen = StateFile(tmp_path / "new" / "state.json").read(LOG)
    assert seen is None
    state.write(SEEN)
    assert StateFile(state.path).read(LOG)[1] == SEEN
    assert state.path.read_bytes().isascii()
    assert state.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in state.path.parent.iterdir()] == ["state.json"]


def test_of_two_verifications_at_once_the_second_does_not_undo_the_first(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    one, _ = StateFile(path).read(LOG)
    other, _ = StateFile(path).read(LOG)
    one.write(SEEN)
    for state in (other, one):
        with pytest.raises(StateError, match="Another verification has changed the state file"):
            state.write(replace(SEEN, verified_at_ms=1))
    assert StateFile(path).read(LOG)[1] == SEEN


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("key"),
        lambda fields: fields.update(key="id.test/log"),
        lambda fields: fields.update(key=str(SigningKey(KEY.name, b"\x02" * 32).verifier_key)),
        lambda fields: fields.update(checkpoint=fields["checkpoint"] + "x"),
        lambda fields: fields.update(checkpoint=None),
        lambda fields: fields.update(verified_at_ms="yesterday"),
    ],
)
def test_what_does_not_fit_together_is_damaged(tmp_path: Path, change: Callable[[dict[str, object]], object]) -> None:
    fields = json.loads(SEEN.encode())
    change(fields)
    (tmp_path / "state.json").write_text(json.dumps(fields))
    with pytest.raises(StateError, match=r"state\.json is damaged\. Put it back from a backup"):
        StateFile(tmp_path / "state.json").read(LOG)


def test_evidence_is_kept_once_to_the_byte(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "id.test-1234.json")
    paths = state.keep([NOTE, b"\xff\x00"])
    assert state.keep([NOTE, b"\xff\x00"]) == paths
    assert [path.read_bytes() for path in paths] == [NOTE, b"\xff\x00"]
    assert all(path.name.startswith("id.test-1234-evidence-") for path in paths)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "gone" / "state.json")
    with pytest.raises(StateError, match="cannot be written: No such file or directory"):
        state.write(SEEN)
    with pytest.raises(StateError, match="evidence cannot be written to"):
        state.keep([NOTE])
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be read: "):
        StateFile(tmp_path / "file" / "state.json").read(LOG)


def test_every_log_has_a_file_of_its_own_that_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    logs = [
        "https://id.test/log",
        "http://id.test/log",
        "https://id.test:8448/log",
        "https://[::1]:8448/log",
        "https://id.test/a/../log",
        "https://id.test/a%2Flog",
        f"https://{'x' * 300}.test/log",
        f"https://{'x' * 300}.test/a/log",
    ]
    paths = [default_path(log) for log in logs]
    assert len(set(paths)) == len(logs)
    assert {path.parent for path in paths} == {tmp_path / "sydent-py"}
    assert paths[0].name.startswith("id.test_log-")
    assert all(len(path.name) < 100 and path.name.isascii() and "/" not in path.name for path in paths)


def test_the_state_is_in_the_home_directory_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert default_path(LOG).parent == Path("/home/somebody/.local/state/sydent-py")
