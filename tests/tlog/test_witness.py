"""What a witness answers and publishes, and what a log serves of it, is what the independent implementation takes for it."""

import base64

import pytest

from sydent_py.tlog.submission import Submission
from tests.tlog.conftest import Ask, b64
from tests.usecases.replication.conftest import (
    Federate,
    Server,
    database_of,  # noqa: F401 - fixtures
    federate,  # noqa: F401
    log_key,
)
from tests.usecases.replication.test_cosigning import grow, have_cosigned
from tests.usecases.replication.test_witness import witness_key


@pytest.fixture
def a(federate: Federate) -> Server:  # noqa: F811 - the fixture
    """A log with two witnesses."""
    return federate("a", "b", "c")["a"]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_cosignatures(ask: Ask, a: Server) -> None:
    for count in (1, 6, 300):
        grow(a, count)
        have_cosigned(a)
        keys = [str(witness_key(name)) for name in ("b.test", "c.test")]
        encoded = b64(a.driver.log("checkpoint").data)
        times = ask("verify", encoded=encoded, log=str(log_key("a.test").verifier_key), witnesses=keys)
        assert times == dict.fromkeys(["b.test/witness", "c.test/witness"], a.driver.clock.now_ms() // 1000)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_submissions(ask: Ask, a: Server) -> None:
    """The proofs that a log submits."""
    log = a.driver.services.published_log
    roots = {}
    for count in (1, 6, 300):
        grow(a, count)
        submission = log.submission(0)
        assert submission
        roots[log.size()] = submission.checkpoint.text.split("\n")[2]
    for old, root in roots.items():
        submission = log.submission(old)
        assert isinstance(submission, Submission)
        path = [base64.b64encode(each).decode() for each in submission.path]
        assert ask("consistency", old=old, new=307, path=path, roots=[root, roots[307]])
