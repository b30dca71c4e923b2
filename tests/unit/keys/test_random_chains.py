"""Random chains beside a model of three lines: only the holder of the key, or a reset that nobody cancelled for 72 hours, changes the key."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sydent_py.keys.chain import RESET_WAIT_MS, Broken, Chain, Taken
from sydent_py.keys.entry import Pins
from sydent_py.keys.statement import OPS, Statement
from sydent_py.keys.verify import NotVerified, Reason, verify, verify_history
from tests.fakes.key_log import HOUR_MS, START_MS, KeyLog
from tests.fakes.key_owner import KeyOwner, master_key

ALICE = "@alice:hs.test"
KEYS = [master_key(f"key {number}") for number in range(3)]
SIGNERS = st.lists(st.sampled_from(range(3)), min_size=1, max_size=2, unique=True)


class RandomChain(RuleBasedStateMachine):
    """``owner`` is whose key counts, ``waiting`` a reset: the key and from when it counts."""

    def __init__(self) -> None:
        super().__init__()
        self.log = KeyLog()
        self.pins: Pins = self.log.pins()
        self.stated = KeyOwner(ALICE)
        self.chain = Chain(self.log.name, ALICE)
        self.now_ms = START_MS
        self.owner: int | None = None
        self.waiting: tuple[int, int] | None = None
        self.is_ended = False
        self.places: list[int] = []

    @initialize(key=st.integers(0, 2))
    def begin(self, key: int) -> None:
        self.state("publish", key, [key])

    @rule(ms=st.sampled_from([1, HOUR_MS, RESET_WAIT_MS - HOUR_MS, RESET_WAIT_MS - 1, RESET_WAIT_MS]))
    def wait(self, ms: int) -> None:
        self.now_ms += ms
        if self.waiting and self.now_ms >= self.waiting[1]:
            self.owner, self.waiting = self.waiting[0], None

    @rule(op=st.sampled_from(OPS), key=st.integers(0, 2), signers=SIGNERS)
    def state(self, op: str, key: int, signers: list[int]) -> None:
        made = self.stated.state(op, KEYS[key], *(KEYS[each] for each in signers), ts=self.now_ms)
        is_expected = self.model(op, key, set(signers))
        try:
            self.chain = self.chain.add(Statement.parse(made), self.now_ms)
        except Broken:
            assert not is_expected
            return
        assert is_expected
        self.stated.made.append(made)
        self.log.fill(1)
        self.places.append(self.log.append(made, self.now_ms))

    @rule()
    def replay(self) -> None:
        for made in self.stated.made:
            try:
                self.chain.add(Statement.parse(made), self.now_ms)
            except Broken as error:
                assert isinstance(error, Taken) or self.is_ended  # noqa: PT017 - which one it is depends
            else:
                raise AssertionError

    def model(self, op: str, key: int, signers: set[int]) -> bool:
        """Whether a statement is allowed, and what comes of it."""
        if (
            self.is_ended
            or (op == "publish") is not (self.owner is None)
            or (op == "cancel") is not (self.waiting is not None)
        ):
            return False
        wanted = {"rotate": {self.owner, key}, "cancel": {self.owner}, "revoke": {self.owner}}.get(op, {key})
        if signers != wanted or (op in {"cancel", "revoke"} and key != self.owner):
            return False
        if op in {"publish", "rotate"}:
            self.owner = key
        elif op == "reset":
            self.waiting = key, self.now_ms + RESET_WAIT_MS
        elif op == "cancel":
            self.waiting = None
        else:
            self.is_ended = True
        return True

    @invariant()
    def the_chain_says_what_the_model_says(self) -> None:
        current, pending = self.chain.current(self.now_ms), self.chain.pending(self.now_ms)
        expected = None if self.is_ended or self.owner is None else bytes(KEYS[self.owner].verify_key)
        assert (current.statement.master if current else None) == expected
        assert (pending.counts_from_ms if pending else None) == (self.waiting[1] if self.waiting else None)

    @invariant()
    def whoever_verifies_says_the_same(self) -> None:
        if not self.places:
            return
        history = verify_history(self.log.history(ALICE, *self.places), ALICE, self.pins, self.now_ms)
        if self.is_ended:
            try:
                history.current(self.now_ms)
            except NotVerified as error:
                assert error.reason is Reason.REVOKED  # noqa: PT017 - a machine's invariant
                return
            raise AssertionError
        shown = self.places[-2:] if self.waiting else self.places[-1:]
        current = verify(self.log.answer(ALICE, *shown), ALICE, self.pins, self.now_ms)
        assert current == history.current(self.now_ms)
        history.check_shows(current)
        assert self.owner is not None
        assert current.entry.statement.master == bytes(KEYS[self.owner].verify_key)
        assert current.counts_from_ms == (self.waiting[1] if self.waiting else None)


TestRandomChains = RandomChain.TestCase
TestRandomChains.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
