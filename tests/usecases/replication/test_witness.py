"""``log/add-checkpoint``: a checkpoint that continues what was cosigned is cosigned, and no other, whatever is tried."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from sydent_py.replication import witness as witnessing
from sydent_py.tlog.cosignature import cosigned_at
from sydent_py.tlog.note import COSIGNATURE, Note, Signature, SigningKey, VerifierKey
from sydent_py.tlog.submission import Submission
from tests.driver import OWN, refusal
from tests.fakes.logs import FakeLog
from tests.usecases.replication.conftest import Federate, Server, seed

LOG = FakeLog(SigningKey("a.test/log", seed("a.test", "log")))
FORK = replace(LOG, branch=" of another history", shared=3)


def witness_key(name: str) -> VerifierKey:
    log = SigningKey(f"{name}/log", seed(name, "log")).verifier_key
    return VerifierKey(f"{name}/witness", COSIGNATURE, log.public_key)


KEY = witness_key("b.test")


@pytest.fixture
def b(federate: Federate) -> Server:
    """A server that knows the log of a.test, which only the test has."""
    federation = federate("a", "b")
    federation.network.apps.pop("a.test")
    return federation["b"]


def submit(server: Server, submission: Submission | str | bytes) -> TestResponse:
    body = submission if isinstance(submission, bytes) else str(submission).encode()
    return server.driver.request("POST", f"{OWN}/log/add-checkpoint", data=body)


def cosigned(answer: TestResponse, checkpoint: Note, key: VerifierKey = KEY) -> int | None:
    """When the checkpoint was cosigned, by an answer that says so."""
    assert answer.status_code == 200, answer.text
    assert (answer.mimetype, answer.headers["Access-Control-Allow-Origin"]) == ("text/plain", "*")
    [line] = answer.text.removesuffix("\n").split("\n")
    return cosigned_at(Note(checkpoint.text, (Signature.parse(line),)), key)


def is_outdated(answer: TestResponse, size: int) -> bool:
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    return (answer.status_code, answer.content_type, answer.data) == (409, "text/x.tlog.size", b"%d\n" % size)


def published(server: Server) -> dict[str, Note]:
    answer = server.driver.request("GET", f"{OWN}/peers/checkpoints")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "public, max-age=1")
    return {each["log"]: Note.parse(each["checkpoint"].encode()) for each in answer.get_json()["checkpoints"]}


def test_checkpoints_that_continue_each_other_are_cosigned(b: Server) -> None:
    at_s = b.driver.clock.now_ms() // 1000
    for old, size in ((0, 1), (1, 5), (5, 8), (8, 8), (8, 300)):
        submission = LOG.submission(old, size)
        assert cosigned(submit(b, submission), submission.checkpoint) == at_s
        [note] = published(b).values()
        assert [line.name for line in note.signatures] == ["a.test/log", "b.test/witness"]
        assert note.text == submission.checkpoint.text
        assert note.is_signed_by(LOG.key.verifier_key)
        assert cosigned_at(note, KEY) == at_s


def test_the_empty_log_is_cosigned(b: Server) -> None:
    submission = LOG.submission(0, 0)
    assert cosigned(submit(b, submission), submission.checkpoint) is not None
    assert cosigned(submit(b, LOG.submission(0, 7)), LOG.checkpoint(7)) is not None


def test_lines_of_other_keys_are_ignored_and_not_published(b: Server) -> None:
    other = SigningKey("elsewhere.test/witness", bytes(32)).sign(LOG.checkpoint(5).text)
    signatures = (*other.signatures, *LOG.checkpoint(5).signatures)
    submission = replace(LOG.submission(0, 5), checkpoint=Note(other.text, signatures))
    assert cosigned(submit(b, submission), submission.checkpoint) is not None
    [note] = published(b).values()
    assert [line.name for line in note.signatures] == ["a.test/log", "b.test/witness"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"old 0\n\n",
        b"old 0\n" + str(LOG.checkpoint(5)).encode(),
        str(LOG.submission(0, 5)).replace("old 0", "old 00").encode(),
        str(LOG.submission(0, 5)).replace("old 0", "old -1").encode(),
        str(LOG.submission(0, 5)).replace("old 0", "old 0 ").encode(),
        str(LOG.submission(0, 5)).replace("old 0", "size 0").encode(),
        str(LOG.submission(3, 5)).replace("=\n", "\n", 1).encode(),
        str(LOG.submission(0, 5)).replace("\n", "\r\n").encode(),
        str(LOG.submission(0, 5)).encode()[:-1],
        str(Submission(1, (bytes(32),) * 64, LOG.checkpoint(5))).encode(),
        str(Submission(0, (), LOG.key.sign("a.test/log\nfive\n"))).encode(),
        str(LOG.submission(5, 5)).replace("old 5", "old 6").encode(),
    ],
)
def test_what_is_no_submission_is_refused(b: Server, body: bytes) -> None:
    assert refusal(submit(b, body)) == (400, "M_INVALID_PARAM")
    assert published(b) == {}


def test_a_submission_that_is_too_large_is_not_read(b: Server) -> None:
    assert refusal(submit(b, b"x" * (32 * 1024 + 1))) == (413, "M_TOO_LARGE")


def test_a_checkpoint_whose_text_would_not_fit_beside_signatures_is_refused(b: Server) -> None:
    wide = replace(LOG, extensions=("x" * 17_000,))
    assert refusal(submit(b, wide.submission(0, 5))) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("origin", ["b.test/log", "elsewhere.test/log", "a.test"])
def test_a_log_of_no_peer_is_not_known(b: Server, origin: str) -> None:
    stranger = FakeLog(SigningKey(origin, LOG.key.seed))
    assert refusal(submit(b, stranger.submission(0, 5))) == (404, "M_NOT_FOUND")


def test_a_checkpoint_that_the_log_has_not_signed_is_forbidden(b: Server) -> None:
    forged = FakeLog(SigningKey("a.test/log", bytes(32)))
    assert refusal(submit(b, forged.submission(0, 5))) == (403, "M_FORBIDDEN")
    signature = LOG.checkpoint(5).signatures
    assert refusal(submit(b, Submission(0, (), Note(LOG.checkpoint(6).text, signature)))) == (403, "M_FORBIDDEN")
    assert published(b) == {}


def test_an_old_size_that_is_not_the_one_cosigned_last_is_answered_with_that(b: Server) -> None:
    assert is_outdated(submit(b, LOG.submission(1, 5)), 0)
    submit(b, LOG.submission(0, 5))
    for old, size in ((0, 5), (0, 9), (4, 9), (6, 9)):
        assert is_outdated(submit(b, LOG.submission(old, size)), 5)


def test_an_old_checkpoint_is_not_cosigned_again(b: Server) -> None:
    first = LOG.submission(0, 5)
    submit(b, first)
    submit(b, LOG.submission(5, 9))
    assert is_outdated(submit(b, first), 9)
    assert is_outdated(submit(b, LOG.submission(5, 5)), 9)
    assert published(b)["a.test/log"].text == LOG.checkpoint(9).text


@pytest.mark.parametrize(
    "submission",
    [
        replace(LOG.submission(5, 9), path=()),
        replace(LOG.submission(5, 9), path=LOG.submission(4, 9).path),
        replace(LOG.submission(5, 9), path=(*LOG.submission(5, 9).path, bytes(32))),
        replace(LOG.submission(5, 5), path=(bytes(32),)),
        FORK.submission(5, 9),
    ],
)
def test_a_proof_that_does_not_verify_is_unprocessable(b: Server, submission: Submission) -> None:
    submit(b, LOG.submission(0, 5))
    assert refusal(submit(b, submission)) == (422, "M_INVALID_PARAM")
    assert published(b)["a.test/log"].text == LOG.checkpoint(5).text
    assert cosigned(submit(b, LOG.submission(5, 9)), LOG.checkpoint(9)) is not None, "anybody can send a wrong proof"


def test_a_first_submission_has_no_proof(b: Server) -> None:
    assert refusal(submit(b, replace(LOG.submission(0, 5), path=(bytes(32),)))) == (422, "M_INVALID_PARAM")


def test_a_fork_is_not_cosigned_and_its_log_never_again(b: Server) -> None:
    b.driver.services.peering.follow["a.test"]()  # it is tried to be followed
    submit(b, LOG.submission(0, 5))
    assert refusal(submit(b, FORK.submission(5, 5))) == (409, "M_INVALID_PARAM")
    assert refusal(submit(b, LOG.submission(5, 9))) == (403, "M_FORBIDDEN")
    state = b.state("a.test")
    assert (bool(state.is_stopped), state.error) == (True, "the log was forked: it has two trees of 5 entries")
    assert bytes(state.evidence).decode() == f"{LOG.checkpoint(5)}\n{FORK.checkpoint(5)}"
    b.driver.services.peering.resync("a.test")
    for log in (LOG, FORK):
        assert refusal(submit(b, log.submission(5, 9))) == (403, "M_FORBIDDEN")
    assert published(b)["a.test/log"].text == LOG.checkpoint(5).text


def test_what_was_cosigned_a_moment_ago_is_answered_without_writing(b: Server) -> None:
    first_s = cosigned(submit(b, LOG.submission(0, 5)), LOG.checkpoint(5))
    assert first_s is not None
    b.driver.clock.advance(59)
    assert cosigned(submit(b, LOG.submission(5, 5)), LOG.checkpoint(5)) == first_s
    b.driver.clock.advance(1)
    assert cosigned(submit(b, LOG.submission(5, 5)), LOG.checkpoint(5)) == first_s + 60
    other = replace(LOG, extensions=("another line",)).submission(5, 5)
    assert cosigned(submit(b, other), other.checkpoint) == first_s + 60


def test_a_clock_that_was_turned_back_does_not_turn_back_what_is_said(b: Server) -> None:
    first_s = cosigned(submit(b, LOG.submission(0, 5)), LOG.checkpoint(5))
    b.driver.clock.advance(-3600)
    assert cosigned(submit(b, LOG.submission(5, 9)), LOG.checkpoint(9)) == first_s


def cosign_meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something between a submission's check and its storage."""
    cosign, acted = witnessing.Witness.cosign, []

    def later(*args: object, **options: object) -> object:
        if not acted:
            acted.append(True)
            # On a thread of its own, as another request, and before this one's transaction has written anything.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(act).result()
        return cosign(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(witnessing.Witness, "cosign", later)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_of_two_that_were_both_checked_the_second_does_not_roll_back_the_first(
    b: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race of tlog-witness. SQLite cannot lose it: the transaction that would come in between has to wait."""
    submit(b, LOG.submission(0, 5))
    cosign_meanwhile(monkeypatch, lambda: submit(b, LOG.submission(5, 9)))
    assert is_outdated(submit(b, LOG.submission(5, 7)), 9)
    assert published(b)["a.test/log"].text == LOG.checkpoint(9).text


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("old", [0, 5])
def test_a_fork_that_was_checked_at_the_same_time_is_not_cosigned(
    b: Server, monkeypatch: pytest.MonkeyPatch, old: int
) -> None:
    if old:
        submit(b, LOG.submission(0, 3))
    start = 3 if old else 0
    cosign_meanwhile(monkeypatch, lambda: submit(b, LOG.submission(start, 5)))
    assert is_outdated(submit(b, FORK.submission(start, 5)), 5)
    assert published(b)["a.test/log"].text == LOG.checkpoint(5).text


def test_many_at_once_leave_one_history(b: Server) -> None:
    start = Barrier(8)

    def race(number: int) -> TestResponse:
        start.wait()
        return submit(b, (LOG if number % 2 else FORK).submission(0, 5 + number // 2))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(race, range(8)))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 7]
    [winner] = [number for number, answer in enumerate(answers) if answer.status_code == 200]
    expected = (LOG if winner % 2 else FORK).checkpoint(5 + winner // 2)
    assert published(b)["a.test/log"].text == expected.text


def test_a_peer_that_is_stopped_is_not_cosigned(b: Server) -> None:
    b.driver.services.peering.follow["a.test"]()
    with b.driver.services.database.begin() as db:
        db.execute(text("UPDATE peers SET is_stopped = :yes"), {"yes": True})
    assert refusal(submit(b, LOG.submission(0, 5))) == (403, "M_FORBIDDEN")
