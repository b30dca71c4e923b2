"""What a client does with published keys: believe no server, and say which key counts, or why none does; with no I/O.

Needs PyNaCl and nothing else. ``verify`` reads what ``GET keys/{userId}`` answers and ``verify_history`` what ``GET
keys/{userId}/history`` answers; ``sydent_py.keys.compare`` tells whether two servers say the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sydent_py.keys import canonical
from sydent_py.keys.chain import Broken, Chain, NotProved
from sydent_py.keys.entry import Entry, NotVerified, Pins, Reason, prove
from sydent_py.keys.statement import PUBLISH, RESET, ROTATE, verifies

__all__ = ["Current", "Entry", "History", "NotVerified", "Pins", "Reason", "verify", "verify_history"]


@dataclass(frozen=True)
class Current:
    """The keys that count for a user, as the log of ``origin`` has them.

    ``entry`` is the statement that they are in, ``pending`` a reset that waits to take its place, from ``counts_from_ms`` on.
    """

    user_id: str
    origin: str
    entry: Entry
    pending: Entry | None = None

    @property
    def master(self) -> str:
        """The public master key, in unpadded base64."""
        return canonical.encode_base64(self.entry.statement.master)

    @property
    def keys(self) -> Mapping[str, Any]:
        """All the keys: ``master``, and perhaps ``self_signing``, ``curve25519`` and ``application``."""
        return self.entry.statement.keys

    @property
    def counts_from_ms(self) -> int | None:
        """When the keys of ``pending`` begin to count, unless somebody cancels it."""
        return None if self.pending is None else self.pending.link.counts_from_ms

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that was verified, oldest first."""
        return (self.entry,) if self.pending is None else (self.entry, self.pending)


@dataclass(frozen=True)
class History:
    """All that a user has stated in the log of ``origin``, oldest first, every statement of it proved."""

    user_id: str
    origin: str
    entries: tuple[Entry, ...]
    chain: Chain

    def current(self, now_ms: int) -> Current:
        """The keys that count; ``NotVerified``."""
        return _current(self.chain, self.entries, self.origin, now_ms)

    def check_shows(self, current: Current) -> None:
        """``NotVerified`` unless it ends with what an answer of the same server shows."""
        if self.entries[-1].commitment != current.entries[-1].commitment:
            raise NotVerified(Reason.BROKEN_CHAIN, "the history does not end with the keys that the server shows as current")


def verify(answer: Any, user_id: str, pins: Pins, now_ms: int) -> Current:
    """The keys that count for a user at ``now_ms``, in ms since the epoch, from an answer or one origin's part of it.

    ``NotVerified`` for everything else, whatever JSON it is.
    """
    part = _part(answer, user_id, pins)
    entry = prove(part.get("current"), user_id, pins, now_ms, pins.max_age_ms)
    _check_alone(entry)
    entries, chain = [entry], Chain(pins.log.name, user_id, entry.link)
    if part.get("pending") is not None:
        pending = prove(part["pending"], user_id, pins, now_ms, pins.max_age_ms)
        if pending.statement.op != RESET:
            raise NotVerified(Reason.BROKEN_CHAIN, "what is shown as a reset that waits is none")
        entries.append(pending)
        chain = _added(chain, pending)
    _check_order(entries)
    return _current(chain, entries, pins.origin, now_ms)


def verify_history(history: Any, user_id: str, pins: Pins, now_ms: int) -> History:
    """All that a user has stated, from a history or one origin's part of it: every entry is proved, and follows the one before.

    ``NotVerified`` for everything else, whatever JSON it is.
    """
    listed = _part(history, user_id, pins).get("entries")
    if not isinstance(listed, list) or not listed:
        raise NotVerified(Reason.MALFORMED, "a history has a list of entries")
    chain, entries = Chain(pins.log.name, user_id), []
    for each in listed:
        entry = prove(each, user_id, pins, now_ms)
        chain = _added(chain, entry)
        entries.append(entry)
    _check_order(entries)
    return History(user_id, pins.origin, tuple(entries), chain)


def check_one_tree(entries: Iterable[Entry]) -> None:
    """``NotVerified`` with the evidence where the log has signed two trees of one size."""
    notes: dict[int, Entry] = {}
    for entry in entries:
        checkpoint = entry.checkpoint
        other = notes.setdefault(checkpoint.size, entry)
        if other.checkpoint.root != checkpoint.root:
            raise NotVerified(
                Reason.SPLIT_VIEW,
                f"the log {checkpoint.origin} has signed two different trees of {checkpoint.size:,} entries",
                (str(other.note), str(entry.note)),
            )


def _part(answer: Any, user_id: str, pins: Pins) -> Mapping[str, Any]:
    """What an answer has of the pinned origin."""
    if not isinstance(answer, dict):
        raise NotVerified(Reason.MALFORMED, "an answer is a JSON object")
    if "origins" in answer:
        if answer.get("user_id") != user_id:
            raise NotVerified(Reason.OTHER_USER, f"the answer is not about {user_id}")
        origins = answer["origins"]
        if not isinstance(origins, dict):
            raise NotVerified(Reason.MALFORMED, "an answer has an object of origins")
        if pins.origin not in origins:
            raise NotVerified(
                Reason.UNPUBLISHED, f"{user_id} has published no keys at {pins.origin}, as far as is known here"
            )
        answer = origins[pins.origin]
    if not isinstance(answer, dict):
        raise NotVerified(Reason.MALFORMED, "what an origin says is a JSON object")
    if answer.get("log") != pins.log.name:
        raise NotVerified(Reason.OTHER_LOG, f"what is shown is not of the log {pins.log.name}")
    return answer


def _check_alone(entry: Entry) -> None:
    """What can be known of a statement without those before it."""
    statement = entry.statement
    is_signed = all(verifies(key, statement.message, signature) for key, signature in statement.signatures.items())
    signers = len(statement.signatures)
    if not is_signed or statement.master not in statement.signatures or (signers > 1 and statement.op != ROTATE):
        raise NotVerified(Reason.USER_SIGNATURE, "the statement is not signed with its own master key, as it must be")
    if (statement.op == PUBLISH) is not (statement.seq == 1):
        raise NotVerified(Reason.BROKEN_CHAIN, 'a chain begins with "publish", and no other statement is one')
    try:
        entry.link.check_time()
    except Broken as error:
        raise NotVerified(Reason.BROKEN_CHAIN, f"statement {statement.seq}: {error}") from error


def _added(chain: Chain, entry: Entry) -> Chain:
    try:
        return chain.add(entry.statement, entry.ts)
    except NotProved as error:
        raise NotVerified(Reason.USER_SIGNATURE, f"statement {entry.statement.seq}: {error}") from error
    except Broken as error:
        raise NotVerified(Reason.BROKEN_CHAIN, f"statement {entry.statement.seq}: {error}") from error


def _check_order(entries: list[Entry]) -> None:
    """What follows stands further on in the log, and the log is one."""
    places = [entry.index for entry in entries]
    if places != sorted(set(places)):
        raise NotVerified(Reason.BROKEN_CHAIN, "the log has the statements in another order than their numbers")
    check_one_tree(entries)


def _current(chain: Chain, entries: Iterable[Entry], origin: str, now_ms: int) -> Current:
    current, pending = chain.current(now_ms), chain.pending(now_ms)
    if chain.is_ended:
        raise NotVerified(Reason.REVOKED, "the user has revoked these keys")
    if current is None:
        raise NotVerified(
            Reason.WAITS, f"the keys are those of a reset that waits until {_counts_from_ms(chain)} ms since the epoch"
        )
    by_seq = {entry.statement.seq: entry for entry in entries}
    return Current(chain.user_id, origin, by_seq[current.statement.seq], by_seq[pending.statement.seq] if pending else None)


def _counts_from_ms(chain: Chain) -> int:
    assert chain.head is not None
    return chain.head.counts_from_ms
