"""``sydent-py log verify`` against servers that lie to it or to the terminal behind it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sydent_py.log.leaf import Leaf
from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import SigningKey
from sydent_py.tlog.tiles import format_bundle
from tests.fakes.http_server import Answer, http_server
from tests.integration.log.conftest import Verify

KEY = SigningKey("evil.test/log", b"\x05" * 32)
# A terminal takes the second for the beginning of a command, as it does ESC and [; the third turns what follows around.
ESCAPES = ("\x1b", "\x9b", "\u202e", "\u2028", "\x7f")
PREFIX = "/log/"


def note(size: int, root: bytes = merkle.EMPTY_ROOT, *extensions: str) -> bytes:
    return str(KEY.sign(str(Checkpoint(KEY.name, size, root, extensions)))).encode()


@contextmanager
def log_server(files: dict[str, Answer | bytes]) -> Iterator[str]:
    """Serves these files as a log: its URL."""

    def answer(path: str) -> Answer:
        found = {"vkey": f"{KEY.verifier_key}\n".encode(), **files}.get(path.removeprefix(PREFIX), (404, {}, b""))
        return (200, {}, found) if isinstance(found, bytes) else found

    with http_server(answer) as (port, _):
        yield f"http://127.0.0.1:{port}/log"


def test_escape_sequences_in_a_signed_checkpoint_do_not_reach_the_terminal(verify: Verify, state: Path) -> None:
    files: dict[str, Answer | bytes] = {"checkpoint": note(0)}
    with log_server(files) as url:
        assert verify(url).exit_code == 0
        files["checkpoint"] = nasty = note(0, merkle.EMPTY_ROOT, "\x9b31mred\u202ekcab\u2028line\x7f")
        assert verify(url).exit_code == 0
        files["checkpoint"] = other = nasty.replace(b"red", b"blu")
        result = verify(url)
    assert result.exit_code == 1
    assert not any(escape in result.output for escape in ESCAPES)
    assert "\n\\x9b31mblu\\u202ekcab\\u2028line\\x7f\n" in result.stderr
    assert [path.read_bytes() for path in state.parent.glob("state-evidence-*.txt")] == [other]


def test_escape_sequences_reach_no_terminal_from_names_keys_or_errors(verify: Verify) -> None:
    nasty = SigningKey("\x9bevil\u202e\x7f/log", b"\x05" * 32)
    empty = Checkpoint(nasty.name, 0, merkle.EMPTY_ROOT)
    vkey = f"{nasty.verifier_key}\n".encode()
    error = json.dumps({"error": "\x1b[2J\x9b\u202e\u2028\x7f\nThe log is fine."}).encode()
    answers: list[dict[str, Answer | bytes]] = [
        {"vkey": vkey, "checkpoint": str(nasty.sign(str(empty))).encode()},
        {"vkey": vkey, "checkpoint": note(0)},
        {"vkey": b"\x1b[2J"},
        {"vkey": b"\xc2\x9b+12345678+AAAA"},
        {"checkpoint": (500, {}, error)},
        {"checkpoint": (302, {"Location": "http://x/\x9b\x7f"}, b"")},
        {"checkpoint": "\x1b[2J\u202e\n".encode()},
        {"checkpoint": str(KEY.sign(str(empty))).encode()},
    ]
    for files in answers:
        with log_server(files) as url:
            for arguments in ((), ("--json",)):
                output = verify(url, *arguments).output
                assert output
                assert not any(escape in output for escape in ESCAPES), output
                assert "\nThe log is fine" not in output


def test_a_web_page_in_place_of_a_log_is_said(verify: Verify, state: Path) -> None:
    page = b"<!doctype html><title>Please log in</title>\n\n<p>Hello\n"
    with log_server({"vkey": page}) as url:
        result = verify(url)
        assert (result.exit_code, "vkey has is not the key of a log:" in result.stderr) == (1, True)
    with log_server({"checkpoint": page}) as url:
        result = verify(url)
        assert (result.exit_code, "What the log has for a checkpoint is none:" in result.stderr) == (1, True)
        assert "Is this the URL of a sydent_py server?" in result.stderr
    assert list(state.parent.iterdir()) == []


def test_a_server_without_a_log_is_said(verify: Verify) -> None:
    with http_server(lambda _: (404, {}, b"")) as (port, _):
        result = verify(f"http://127.0.0.1:{port}")
        assert (result.exit_code, "There is no log at" in result.stderr) == (1, True)
        result = verify(f"http://127.0.0.1:{port}", "--key", str(KEY.verifier_key))
        assert (result.exit_code, "it has no checkpoint" in result.stderr) == (1, True)


def test_a_server_that_cannot_be_reached_is_said_in_another_way(verify: Verify) -> None:
    result = verify("http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "vkey cannot be reached: Connection refused. Is the URL right, and the server running?" in result.stderr
    answer = json.loads(verify("http://127.0.0.1:1", "--json").stdout)
    assert (answer["verified"], answer["error"]) == (False, "unavailable")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tile/entries/000.p/2", bytes(65537), "tile/entries/000.p/2 sent more than 65,536 bytes"),
        ("tile/0/000.p/2", bytes(8193), "tile/0/000.p/2 sent more than 8,192 bytes"),
        ("checkpoint", bytes(65537), "checkpoint sent more than 65,536 bytes"),
        ("tile/entries/000.p/2", b"", "tile/entries/000.p/2 has 0 entries and not 2"),
        (
            "tile/entries/000.p/2",
            b"\x00\xffx",
            "The entries of tile/entries/000.p/2 cannot be read: the bundle of entries is",
        ),
        ("tile/entries/000.p/2", b"\x00\x01x", "cannot be read: an entry is not written as a log of this kind writes it"),
        ("tile/entries/000.p/2", (404, {}, b""), "The log has no tile/entries/000.p/2, which its own checkpoint covers"),
    ],
)
def test_files_that_no_log_has(verify: Verify, name: str, content: Answer | bytes, said: str) -> None:
    entry = Leaf("bind", 1, bytes(32)).encode()
    bundle = format_bundle([entry, entry])
    with log_server({"checkpoint": note(2, bytes(32)), "tile/entries/000.p/2": bundle, name: content}) as url:
        result = verify(url)
    assert (result.exit_code, said in result.stderr) == (1, True), result.stderr


def test_a_log_that_names_no_key_is_verified_with_one_that_is_pinned(verify: Verify) -> None:
    with log_server({"vkey": (404, {}, b""), "checkpoint": note(0)}) as url:
        result = verify(url)
        assert (result.exit_code, "Name it with --key" in result.stderr) == (1, True)
        assert verify(url, "--key", str(KEY.verifier_key)).exit_code == 0
        assert verify(url).exit_code == 0, "it is remembered"
