"""A user's chain in a log, with other entries around it."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from nacl.signing import SigningKey

from sydent_py.keys.verify import Current, History, Pins, verify, verify_history
from sydent_py.tlog.cosignature import WitnessKey
from tests.fakes.key_log import START_MS, KeyLog, seed
from tests.fakes.key_owner import KeyOwner, master_key

ALICE = "@alice:hs.test"
OLD, NEW, THIRD = master_key("old"), master_key("new"), master_key("third")
WITNESS = WitnessKey("b.test/witness", seed("b.test"))
OTHER_WITNESS = WitnessKey("c.test/witness", seed("c.test"))


@dataclass
class World:
    """A log whose server says what a test lets it say, and a user who states what a test lets them state."""

    log: KeyLog = field(default_factory=lambda: KeyLog(witnesses=(WITNESS, OTHER_WITNESS)))
    owner: KeyOwner = field(default_factory=lambda: KeyOwner(ALICE))
    now_ms: int = START_MS
    places: list[int] = field(default_factory=list)

    def state(self, op: str, master: SigningKey, *signers: SigningKey, **changes: Any) -> "World":
        """Whether it is allowed or not."""
        made = self.owner.state(op, master, *signers, **{"ts": self.now_ms, **changes})
        self.owner.made.append(made)
        self.log.fill(2)
        self.places.append(self.log.append(made, self.now_ms))
        return self

    def wait(self, ms: int) -> "World":
        self.now_ms += ms
        return self

    def fork(self, shared: int) -> "World":
        """The same up to the statement of this number."""
        places = self.places[:shared]
        size = places[-1] + 1 if places else 0
        return World(self.log.fork(size), KeyOwner(ALICE, made=self.owner.made[:shared]), self.now_ms, places)

    def answer(self, *shown: int) -> dict[str, Any]:
        """With these of the statements as current and pending; the last one if none are named."""
        return self.log.answer(ALICE, *(self.places[each] for each in shown or (-1,)))

    def history(self) -> dict[str, Any]:
        return self.log.history(ALICE, *self.places)

    @property
    def pins(self) -> Pins:
        return self.log.pins()

    def verify(self, answer: Any = None, pins: Pins | None = None) -> Current:
        return verify(self.answer() if answer is None else answer, ALICE, pins or self.pins, self.now_ms)

    def verify_history(self, history: Any = None) -> History:
        return verify_history(self.history() if history is None else history, ALICE, self.pins, self.now_ms)


@pytest.fixture
def world() -> World:
    """A published key."""
    return World().state("publish", OLD)
