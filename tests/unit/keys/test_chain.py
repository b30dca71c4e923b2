"""What may follow what in a chain of statements, and when."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from nacl.signing import SigningKey

from sydent_py.keys.chain import CLOCKS_MS, RESET_WAIT_MS, Broken, Chain, NotProved, Taken
from sydent_py.keys.statement import Statement
from tests.fakes.key_log import HOUR_MS, START_MS
from tests.fakes.key_owner import KeyOwner, cross_signing_key, master_key

ALICE, LOG = "@alice:hs.test", "id.test/log"
OLD, NEW, THIRD = master_key("old"), master_key("new"), master_key("third")


@dataclass
class Story:
    """A chain as it grows, at a time that passes."""

    chain: Chain = field(default_factory=lambda: Chain(LOG, ALICE))
    owner: KeyOwner = field(default_factory=lambda: KeyOwner(ALICE, LOG))
    now_ms: int = START_MS

    def make(self, op: str, master: SigningKey, *signers: SigningKey, **changes: Any) -> dict[str, Any]:
        return self.owner.state(op, master, *signers, **{"ts": self.now_ms, **changes})

    def add(self, op: str, master: SigningKey, *signers: SigningKey, **changes: Any) -> "Story":
        made = self.make(op, master, *signers, **changes)
        self.chain = self.chain.add(Statement.parse(made), self.now_ms)
        self.owner.made.append(made)
        return self

    def wait(self, ms: int) -> "Story":
        self.now_ms += ms
        return self

    @property
    def current(self) -> bytes | None:
        link = self.chain.current(self.now_ms)
        return link.statement.master if link else None

    @property
    def is_pending(self) -> bool:
        return self.chain.pending(self.now_ms) is not None


@pytest.fixture
def story() -> Story:
    return Story().add("publish", OLD)


def key_of(master: SigningKey) -> bytes:
    return bytes(master.verify_key)


def test_nobody_has_keys_before_the_first_statement() -> None:
    assert (Story().current, Story().is_pending) == (None, False)


def test_a_chain_begins_with_the_key_that_is_published(story: Story) -> None:
    assert story.current == key_of(OLD)


@pytest.mark.parametrize("op", ["rotate", "reset", "cancel", "revoke"])
def test_a_chain_begins_with_nothing_else(op: str) -> None:
    with pytest.raises(Broken, match="begins with"):
        Story().add(op, OLD)


@pytest.mark.parametrize("signers", [(NEW,), (OLD, NEW)], ids=["another key", "one key too many"])
def test_a_key_is_published_by_itself(signers: tuple[SigningKey, ...]) -> None:
    with pytest.raises(NotProved):
        Story().add("publish", OLD, *signers)


def test_nothing_is_published_twice(story: Story) -> None:
    for master in (OLD, NEW):
        with pytest.raises(Broken, match="begins with"):
            story.add("publish", master)


def test_a_key_is_rotated_by_both_keys(story: Story) -> None:
    story.add("rotate", NEW, OLD, NEW)
    assert story.current == key_of(NEW)
    story.add("rotate", THIRD, NEW, THIRD).add("rotate", OLD, THIRD, OLD)
    assert story.current == key_of(OLD)


def test_what_the_master_key_signs_is_rotated_by_it_alone(story: Story) -> None:
    story.add("rotate", OLD, keys={"master": cross_signing_key(ALICE, OLD), "application": {"ssh": "SHA256:x"}})
    assert story.current == key_of(OLD)
    with pytest.raises(NotProved):
        story.add("rotate", OLD, OLD, NEW)


@pytest.mark.parametrize("signers", [(OLD,), (NEW,), (NEW, THIRD), (OLD, THIRD)])
def test_a_key_is_not_rotated_without_both(story: Story, signers: tuple[SigningKey, ...]) -> None:
    with pytest.raises(NotProved):
        story.add("rotate", NEW, *signers)
    assert story.current == key_of(OLD)


def test_the_old_key_is_worth_nothing_after_a_rotation(story: Story) -> None:
    story.add("rotate", NEW, OLD, NEW)
    with pytest.raises(NotProved):
        story.add("rotate", THIRD, OLD, THIRD)
    with pytest.raises(NotProved):
        story.add("revoke", NEW, OLD)
    with pytest.raises(Broken):
        story.add("revoke", OLD)


def test_a_reset_counts_after_72_hours(story: Story) -> None:
    story.add("reset", NEW)
    assert (story.current, story.is_pending) == (key_of(OLD), True)
    story.wait(RESET_WAIT_MS - 1)
    assert (story.current, story.is_pending) == (key_of(OLD), True)
    story.wait(1)
    assert (story.current, story.is_pending) == (key_of(NEW), False)


@pytest.mark.parametrize("signers", [(OLD,), (OLD, NEW), (THIRD,)], ids=["old", "both", "another"])
def test_a_reset_is_signed_by_the_new_key_alone(story: Story, signers: tuple[SigningKey, ...]) -> None:
    with pytest.raises(NotProved):
        story.add("reset", NEW, *signers)


@pytest.mark.parametrize("waited_ms", [0, 1, RESET_WAIT_MS - 1])
def test_a_reset_is_cancelled_by_the_old_key(story: Story, waited_ms: int) -> None:
    story.add("reset", NEW).wait(waited_ms).add("cancel", OLD)
    for _ in range(2):
        assert (story.current, story.is_pending) == (key_of(OLD), False)
        story.wait(RESET_WAIT_MS)


def test_a_reset_is_not_cancelled_too_late(story: Story) -> None:
    story.add("reset", NEW).wait(RESET_WAIT_MS)
    for master in (OLD, NEW):
        with pytest.raises(Broken):
            story.add("cancel", master)
    assert story.current == key_of(NEW)


def test_a_reset_is_cancelled_by_nobody_else(story: Story) -> None:
    story.add("reset", NEW)
    for master in (NEW, THIRD):
        with pytest.raises(Broken, match="repeats the keys"):
            story.add("cancel", master)
    with pytest.raises(NotProved):
        story.add("cancel", OLD, NEW)
    assert story.is_pending


def test_nothing_is_cancelled_where_nothing_waits(story: Story) -> None:
    with pytest.raises(Broken, match="while a reset waits"):
        story.add("cancel", OLD)
    story.add("reset", NEW).add("cancel", OLD)
    with pytest.raises(Broken, match="while a reset waits"):
        story.add("cancel", OLD)


@pytest.mark.parametrize(
    ("op", "master", "signers"),
    [
        ("rotate", NEW, (OLD, NEW)),
        ("reset", THIRD, ()),
        ("revoke", OLD, ()),
        ("publish", THIRD, ()),
        ("rotate", THIRD, (NEW, THIRD)),
    ],
)
def test_while_a_reset_waits_it_is_cancelled_and_nothing_else(
    story: Story, op: str, master: SigningKey, signers: tuple[SigningKey, ...]
) -> None:
    story.add("reset", NEW)
    with pytest.raises(Broken):
        story.add(op, master, *signers)


def test_a_cancelled_reset_can_be_followed_by_everything(story: Story) -> None:
    story.add("reset", NEW).add("cancel", OLD).add("reset", THIRD).add("cancel", OLD).add("rotate", NEW, OLD, NEW)
    assert story.current == key_of(NEW)


def test_a_reset_that_counts_is_the_key_that_rotates(story: Story) -> None:
    story.add("reset", NEW).wait(RESET_WAIT_MS)
    with pytest.raises(NotProved):
        story.add("rotate", THIRD, OLD, THIRD)
    assert story.add("rotate", THIRD, NEW, THIRD).current == key_of(THIRD)


def test_a_revoked_chain_has_ended(story: Story) -> None:
    story.add("revoke", OLD)
    assert (story.current, story.is_pending, story.chain.is_ended) == (None, False, True)
    for op, master in (("publish", NEW), ("reset", NEW), ("rotate", OLD), ("revoke", OLD), ("cancel", OLD)):
        with pytest.raises(Broken, match="revoked"):
            story.add(op, master)


def test_revoking_repeats_the_keys_and_is_signed_by_them(story: Story) -> None:
    with pytest.raises(Broken, match="repeats the keys"):
        story.add("revoke", NEW)
    with pytest.raises(NotProved):
        story.add("revoke", OLD, NEW)
    with pytest.raises(Broken, match="repeats the keys"):
        story.add("revoke", OLD, keys={"master": {**cross_signing_key(ALICE, OLD), "more": True}})


@pytest.mark.parametrize("changes", [{"log": "other.test/log"}, {"log": "id.test/log2"}])
def test_a_statement_for_another_log_is_not_taken(story: Story, changes: dict[str, Any]) -> None:
    with pytest.raises(Broken, match="in the log"):
        story.add("rotate", NEW, OLD, NEW, **changes)


def test_a_statement_of_another_user_is_not_taken(story: Story) -> None:
    theirs = KeyOwner("@bob:hs.test", LOG).state("publish", NEW, ts=START_MS)
    for chain in (story.chain, Chain(LOG, ALICE)):
        with pytest.raises(Broken, match="@bob:hs"):
            chain.add(Statement.parse(theirs), START_MS)


def test_a_place_is_taken_once(story: Story) -> None:
    first, second = (Statement.parse(story.make("reset", key)) for key in (NEW, THIRD))
    with pytest.raises(Taken):
        story.chain.add(first, START_MS).add(second, START_MS)


def test_there_are_no_gaps_and_no_other_past(story: Story) -> None:
    other = Story().add("publish", NEW)
    for changes in ({"seq": 3}, {"seq": 10**15}, {"prev": "A" * 43}):
        with pytest.raises(Broken, match="does not continue"):
            story.add("rotate", NEW, OLD, NEW, **changes)
    with pytest.raises(Broken, match="does not continue"):
        story.chain.add(Statement.parse(other.make("reset", THIRD)), START_MS)
    with pytest.raises(Broken, match='"prev" null'):
        Story().add("publish", OLD, seq=2, prev="A" * 43)


def test_a_log_takes_nothing_before_what_it_follows(story: Story) -> None:
    with pytest.raises(Broken, match="before the one"):
        story.wait(-1).add("rotate", NEW, OLD, NEW)


@pytest.mark.parametrize("off_ms", [-CLOCKS_MS, CLOCKS_MS])
def test_a_statement_is_taken_when_it_is_signed(off_ms: int) -> None:
    """Statements of a chain that was erased could be played again otherwise."""
    Story().add("publish", OLD, ts=START_MS + off_ms)
    with pytest.raises(Broken, match="15 minutes"):
        Story().add("publish", OLD, ts=START_MS + off_ms + (1 if off_ms > 0 else -1))
    with pytest.raises(Broken, match="15 minutes"):
        Story().wait(HOUR_MS).add("publish", OLD, ts=START_MS)
