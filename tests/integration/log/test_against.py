"""``sydent-py log verify --against``: a log that shows two servers different trees is told from one that does not."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sydent_py.log.against import PATH
from sydent_py.log.remote import PATH as LOG_PATH
from sydent_py.tlog.cosignature import WitnessKey
from sydent_py.tlog.note import Note, SigningKey
from tests.fakes.http_server import Answer, http_server
from tests.fakes.logs import FakeLog
from tests.integration.log.conftest import Verify

KEY = SigningKey("a.test/log", bytes(range(32)))
LOG = FakeLog(KEY)
FORK = replace(LOG, branch=" of another history", shared=3)
WITNESS = WitnessKey("b.test/witness", b"\x05" * 32)
AT_S = 1_800_000_000
WHEN = "2027-01-15 08:00:00 UTC"


@dataclass
class Federation:
    """Where the log and a follower of it are, and what they show."""

    log_url: str = ""
    peer_url: str = ""
    log: FakeLog = LOG
    size: int = 9
    listed: list[dict[str, str]] = field(default_factory=list)

    def see(self, log: FakeLog, size: int, witness: WitnessKey = WITNESS) -> str:
        """Let the follower have cosigned a tree: the note."""
        checkpoint = log.checkpoint(size)
        note = str(Note(checkpoint.text, (*checkpoint.signatures, witness.cosign(checkpoint.text, AT_S))))
        self.listed = [{"log": "elsewhere.test/log", "checkpoint": "?"}, {"log": KEY.name, "checkpoint": note}]
        return note

    def answer_as_log(self, path: str) -> Answer:
        name = path.removeprefix(f"/{LOG_PATH}/")
        content = self.log.file(name, self.size)
        return (404, {}, b"") if content is None else (200, {}, content)

    def answer_as_peer(self, path: str) -> Answer:
        assert path == f"/{PATH}"
        return 200, {}, json.dumps({"checkpoints": self.listed}).encode()


@pytest.fixture
def federation() -> Iterator[Federation]:
    with ExitStack() as stack:
        federation = Federation()
        log_port, _ = stack.enter_context(http_server(federation.answer_as_log))
        peer_port, _ = stack.enter_context(http_server(federation.answer_as_peer))
        federation.log_url, federation.peer_url = f"http://127.0.0.1:{log_port}", f"http://127.0.0.1:{peer_port}"
        yield federation


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (9, "the same tree of 9 entries"),
        (4, "the same tree when it had 4 entries"),
        (300, "the same tree when it had 300 entries"),
        (0, "the same tree when it had 0 entries"),
        (700, "the same tree grown to 700 entries"),
    ],
)
def test_agreement_is_said(federation: Federation, verify: Verify, seen: int, words: str) -> None:
    federation.size = {9: 9, 700: 600}.get(seen, 600)
    federation.see(LOG, seen)
    if seen == 700:
        federation.log = GrowsWhileRead(KEY)
    result = verify(federation.log_url, "--against", federation.peer_url)
    assert result.exit_code == 0, result.output
    said = f"127.0.0.1 saw {words} at {WHEN}; the cosignature of b.test/witness was not checked, as no --witness-key names its key."
    assert said in result.stdout
    result = verify(federation.log_url, "--against", federation.peer_url, "--witness-key", str(WITNESS.verifier_key))
    assert f"{words} at {WHEN}; the cosignature of b.test/witness is valid." in result.stdout
    its_log = SigningKey("b.test/log", WITNESS.seed).verifier_key
    result = verify(federation.log_url, "--against", federation.peer_url, "--witness-key", str(its_log))
    assert "the cosignature of b.test/witness is valid." in result.stdout


class GrowsWhileRead(FakeLog):
    """It has 700 entries by the time its tiles are read, and a cache shows the checkpoint of before."""

    def file(self, name: str, size: int) -> bytes | None:
        return super().file(name, size if name == "checkpoint" else 700)


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        (9, 9, "127.0.0.1 has seen another tree of 9 entries than this one"),
        (9, 4, "the first 4 entries are not the same for 127.0.0.1, which has seen 4, as here"),
        (600, 300, "the first 300 entries are not the same"),
        (9, 600, "127.0.0.1 has seen 600 entries, and the log does not show how the one goes on to the other"),
    ],
)
def test_a_split_view_is_said_and_kept(
    federation: Federation, verify: Verify, state: Path, *, here: int, there: int, words: str
) -> None:
    federation.size = here
    seen = federation.see(FORK, there)
    for _ in range(2):
        result = verify(federation.log_url, "--against", federation.peer_url)
        assert result.exit_code == 1
        assert f"Error: Split view: {words}" in result.stderr
        for note in (str(LOG.checkpoint(here)), seen):
            assert note in result.stderr
        kept = {path.read_text() for path in state.parent.glob("state-evidence-*.txt")}
        assert kept == {str(LOG.checkpoint(here)), seen}
    answer = json.loads(verify(federation.log_url, "--against", federation.peer_url, "--json").stdout)
    assert (answer["verified"], answer["error"], answer["checkpoints"]) == (
        False, "split_view", [str(LOG.checkpoint(here)), seen],
    )  # fmt: skip


def test_a_log_whose_tiles_change_between_readers_proves_nothing(federation: Federation, verify: Verify) -> None:
    """It shows the tiles of the one history under the checkpoint of the other."""
    federation.see(FORK, 600)
    federation.size = 9
    federation.log = ShowsBoth(KEY)
    result = verify(federation.log_url, "--against", federation.peer_url)
    assert (result.exit_code, "Split view: " in result.stderr) == (1, True), result.output


class ShowsBoth(FakeLog):
    """The files that an audit of 9 entries reads are of the one history, all others of the other."""

    def file(self, name: str, size: int) -> bytes | None:
        return super().file(name, size) or FORK.file(name, 600)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([], "it has not cosigned this log"),
        ([{"log": KEY.name, "checkpoint": str(LOG.checkpoint(9))}] * 2, "it has not cosigned this log"),
        ([{"log": KEY.name, "checkpoint": "?"}], "is not signed by it, and says nothing"),
        ([{"log": KEY.name, "checkpoint": str(SigningKey(KEY.name, bytes(32)).sign(LOG.checkpoint(9).text))}], "not signed by it"),
        ([{"log": KEY.name}], "cannot be read"),
        (["?"], "cannot be read"),
        (None, "cannot be read"),
    ],
)  # fmt: skip
def test_a_server_that_has_nothing_to_compare_is_an_error_beside_a_log_that_is_sound(
    federation: Federation, verify: Verify, listed: list[dict[str, str]], words: str
) -> None:
    federation.listed = listed
    result = verify(federation.log_url, "--against", federation.peer_url)
    assert result.exit_code == 1
    assert "is what its checkpoint says, every entry of it." in result.stdout
    assert f"{federation.peer_url} was not compared: " in result.stderr
    assert words in result.stderr
    answer = json.loads(verify(federation.log_url, "--against", federation.peer_url, "--json").stdout)
    [compared] = answer["against"]
    assert (answer["verified"], compared["agrees"], words in compared["message"]) == (True, None, True)


def test_a_cosignature_of_another_key_than_the_one_that_is_known_is_an_error(federation: Federation, verify: Verify) -> None:
    federation.see(LOG, 9, WitnessKey("b.test/witness", bytes(32)))
    result = verify(federation.log_url, "--against", federation.peer_url, "--witness-key", str(WITNESS.verifier_key))
    assert result.exit_code == 1
    assert "a cosignature of b.test/witness that is not valid" in result.stderr


def test_a_checkpoint_that_nobody_has_cosigned_says_so(federation: Federation, verify: Verify) -> None:
    federation.listed = [{"log": KEY.name, "checkpoint": str(LOG.checkpoint(9))}]
    result = verify(federation.log_url, "--against", federation.peer_url)
    assert (result.exit_code, "127.0.0.1 saw the same tree of 9 entries; it has not cosigned it." in result.stdout) == (
        0,
        True,
    )


def test_several_servers_are_compared_and_scripts_are_told(federation: Federation, verify: Verify) -> None:
    federation.see(LOG, 4)
    nobody = "http://127.0.0.1:1"
    arguments = ("--against", nobody, "--against", federation.peer_url, "--witness-key", str(WITNESS.verifier_key), "--json")
    result = verify(federation.log_url, *arguments)
    assert result.exit_code == 1
    gone, seen = json.loads(result.stdout)["against"]
    assert (gone["url"], gone["agrees"]) == (nobody, None)
    assert gone["message"].startswith("it cannot be asked: ")
    assert seen == {
        "url": federation.peer_url, "agrees": True, "size": 4, "witness": "b.test/witness", "cosigned_at_s": AT_S,
        "is_cosignature_checked": True,
    }  # fmt: skip
    federation.see(FORK, 4)
    result = verify(federation.log_url, "--against", nobody, "--against", federation.peer_url)
    assert "Split view" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--against", "b.test"),
        ("--witness-key", "b.test"),
        ("--witness-key", str(SigningKey("a.test", bytes(32)).verifier_key)),
    ],
)
def test_what_is_no_server_and_no_key_is_refused(federation: Federation, verify: Verify, arguments: tuple[str, str]) -> None:
    assert verify(federation.log_url, *arguments).exit_code == 2
