"""Submissions in one text: one spelling, and as C2SP has it."""

from hypothesis import given
from hypothesis import strategies as st

from sydent_py.tlog.note import SigningKey
from sydent_py.tlog.submission import MAX_HASHES, Submission
from sydent_py.tlog.text import MAX_NUMBER
from tests.fakes.logs import FakeLog
from tests.unit.tlog.fuzzing import assert_canonical_bytes, assert_refused, nearly_bytes
from tests.unit.tlog.strategies import HASHES, notes

# The example in c2sp.org/tlog-witness.
EXAMPLE = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""
SUBMISSIONS = st.builds(Submission, st.integers(0, MAX_NUMBER), st.lists(HASHES, max_size=MAX_HASHES).map(tuple), notes())
LOG = FakeLog(SigningKey("example.com/log", bytes(32)))


@given(SUBMISSIONS)
def test_a_submission_comes_back_as_it_was_written(submission: Submission) -> None:
    assert Submission.parse(str(submission).encode()) == submission


@given(st.binary(max_size=80) | nearly_bytes(SUBMISSIONS.map(str)) | nearly_bytes(st.just(EXAMPLE)))
def test_any_bytes_are_a_submission_in_its_one_spelling_or_malformed(encoded: bytes) -> None:
    assert_canonical_bytes(Submission.parse, encoded)


def test_the_example_of_the_specification() -> None:
    submission = Submission.parse(EXAMPLE.encode())
    assert (submission.old_size, len(submission.path), len(submission.checkpoint.signatures)) == (20852014, 4, 2)
    assert str(submission) == EXAMPLE


def test_a_submission_without_a_proof() -> None:
    assert str(LOG.submission(0, 5)) == f"old 0\n\n{LOG.checkpoint(5)}"


def test_more_hashes_than_a_tree_can_need_are_refused() -> None:
    assert_refused(Submission.parse, str(Submission(1, (bytes(32),) * 64, LOG.checkpoint(5))).encode())
