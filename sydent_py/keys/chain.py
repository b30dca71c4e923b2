"""The rules by which one statement of a user follows another; with no I/O.

A chain begins with ``publish``. ``rotate`` is signed with the key before and the one after. ``reset`` is for who has lost the key: it
is signed with the new key alone, waits 72 hours, and can be cancelled with the old key until then. ``revoke`` ends the chain.
"""

from dataclasses import dataclass, replace

from sydent_py.keys import canonical
from sydent_py.keys.statement import CANCEL, PUBLISH, RESET, REVOKE, ROTATE, NotSigned, Statement

RESET_WAIT_MS = 72 * 3_600_000
# A log takes what was signed just now: an old statement of a chain that was erased cannot come back.
CLOCKS_MS = 15 * 60_000


class Broken(ValueError):
    """The statement does not continue the chain; the message says why."""


class Taken(Broken):
    """Another statement has this place."""


class NotProved(Broken):
    """Whoever made the statement has not shown that they have the key it needs."""


@dataclass(frozen=True)
class Link:
    """A statement, and when the log took it: ``ts`` in ms since the epoch."""

    statement: Statement
    ts: int

    @property
    def is_reset(self) -> bool:
        """Whether it has to wait."""
        return self.statement.op == RESET

    @property
    def counts_from_ms(self) -> int:
        """From when on its key is the user's."""
        return self.ts + RESET_WAIT_MS if self.is_reset else self.ts

    def check_time(self) -> None:
        """``Broken`` unless the log took it when the user signed it."""
        if abs(self.ts - self.statement.ts) > CLOCKS_MS:
            raise Broken(
                f'its "ts" is {self.statement.ts}, and the log took it at {self.ts}: these may be 15 minutes apart, and no more'
            )


@dataclass(frozen=True)
class Chain:
    """The end of what a user has stated in one log.

    ``head`` is the newest statement; ``standing`` is the one whose key counts while ``head`` is a reset that waits.
    """

    log: str
    user_id: str
    head: Link | None = None
    standing: Link | None = None

    @property
    def is_ended(self) -> bool:
        """Whether the user has revoked it."""
        return self.head is not None and self.head.statement.op == REVOKE

    @property
    def next_place(self) -> tuple[int, bytes | None]:
        """``seq`` and ``prev`` of the statement that continues it."""
        return (self.head.statement.seq + 1, self.head.statement.hash) if self.head else (1, None)

    def current(self, now_ms: int) -> Link | None:
        """The statement whose key is the user's."""
        if self.head is None or self.is_ended:
            return None
        return self.standing if self.pending(now_ms) else self.head

    def pending(self, now_ms: int) -> Link | None:
        """The reset that waits, if there is one."""
        return self.head if self.head is not None and self.head.is_reset and now_ms < self.head.counts_from_ms else None

    def add(self, statement: Statement, ts: int) -> "Chain":
        """The chain with one more statement, which the log takes at ``ts``; ``Taken``, ``NotProved``, or ``Broken``."""
        self._check_place(statement, ts)
        current = self.current(ts)
        try:
            self._check_op(statement, ts, current)
        except NotSigned as error:
            raise NotProved(str(error)) from error
        standing = current if statement.op == RESET else None
        return replace(self, head=Link(statement, ts), standing=standing)

    def _check_place(self, statement: Statement, ts: int) -> None:
        if (statement.log, statement.user_id) != (self.log, self.user_id):
            raise Broken(f"it is for {statement.user_id} in the log {statement.log}")
        if self.is_ended:
            raise Broken("the keys were revoked")
        seq, prev = self.next_place
        if statement.seq < seq:
            raise Taken(f"statement {statement.seq} was made already: the next one is {seq}")
        if statement.seq > seq or statement.prev != prev:
            named = "null" if prev is None else canonical.encode_base64(prev)
            raise Broken(f'it does not continue the chain: "seq" must be {seq} and "prev" {named}')
        if self.head is not None and ts < self.head.ts:
            raise Broken("the log took it before the one that it follows")
        Link(statement, ts).check_time()

    def _check_op(self, statement: Statement, ts: int, current: Link | None) -> None:
        if (statement.op == PUBLISH) is not (current is None):
            raise Broken('a chain begins with "publish", and no other statement is one')
        if current is None:
            statement.require_signatures(statement.master)
            return
        before = current.statement
        if (statement.op == CANCEL) is not (self.pending(ts) is not None):
            raise Broken('while a reset waits it can be cancelled, and nothing else: "cancel" is for then alone')
        if statement.op in (CANCEL, REVOKE) and statement.encoded_keys != before.encoded_keys:
            raise Broken(f'"{statement.op}" repeats the keys that count now')
        if statement.op == ROTATE:
            statement.require_signatures(before.master, statement.master)
        else:
            statement.require_signatures(statement.master)
