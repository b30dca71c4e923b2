"""The queue, in Synapse's database: of each address and user the newest change, in the order of the changes."""

from dataclasses import dataclass, replace

from sydent_py.synapse.binding import Binding
from sydent_py.synapse.tables import Txn

# More than the longest address and user ID together, in a request of 64 KiB at most.
MAX_BATCH = 200

# A clock that was set back by more than this is believed, and changes are ordered by it again.
MAX_CLOCK_STEP_MS = 300_000

# The error code of a change that is from the future.
CLOCK_IS_WRONG = "M_INVALID_PARAM"

BIND, UNBIND = "bind", "unbind"


@dataclass(frozen=True)
class Change:
    """One item of a batch. ``ts`` (ms) and ``seq`` say which of two changes of an address is the newer."""

    action: str
    binding: Binding
    ts: int
    seq: int
    attempts: int


def publish(txn: Txn, now_ms: int, binding: Binding) -> None:
    """The address belongs to this user from now on, and to nobody else: Synapse moves one without taking it away first."""
    withdraw_others(txn, now_ms, binding)
    ts, seq = _next(txn, now_ms)
    txn.execute(
        "INSERT INTO sydent_py_bindings"
        " (medium, address, user_id, canonical, published, waiting, told, changed_ts, seq, due_ts, attempts, refusal)"
        " VALUES (?, ?, ?, ?, 1, 1, 0, ?, ?, 0, 0, NULL)"
        " ON CONFLICT (medium, address, user_id) DO UPDATE SET published = 1, waiting = 1,"
        " changed_ts = excluded.changed_ts, seq = excluded.seq, due_ts = 0, attempts = 0, refusal = NULL",
        (*binding.key, binding.address, ts, seq),
    )


def withdraw_others(txn: Txn, now_ms: int, binding: Binding) -> None:
    """The address belongs to nobody else."""
    txn.execute(
        "SELECT user_id FROM sydent_py_bindings WHERE medium = ? AND address = ? AND user_id <> ? AND published = 1",
        binding.key,
    )
    for (other,) in txn.fetchall():
        withdraw(txn, now_ms, replace(binding, user_id=other))


def withdraw(txn: Txn, now_ms: int, binding: Binding) -> None:
    """The address does not belong to this user any more. What no request has told is forgotten without one."""
    txn.execute(
        "DELETE FROM sydent_py_bindings WHERE medium = ? AND address = ? AND user_id = ? AND told = 0",
        binding.key,
    )
    if txn.rowcount:
        return
    ts, seq = _next(txn, now_ms)
    txn.execute(
        "INSERT INTO sydent_py_bindings"
        " (medium, address, user_id, canonical, published, waiting, told, changed_ts, seq, due_ts, attempts, refusal)"
        " VALUES (?, ?, ?, ?, 0, 1, 1, ?, ?, 0, 0, NULL)"
        " ON CONFLICT (medium, address, user_id) DO UPDATE SET published = 0, waiting = 1,"
        " changed_ts = excluded.changed_ts, seq = excluded.seq, due_ts = 0, attempts = 0, refusal = NULL",
        (*binding.key, binding.address, ts, seq),
    )


def has(txn: Txn, binding: Binding) -> bool:
    """Whether anything is known of the address as this user's."""
    txn.execute("SELECT 1 FROM sydent_py_bindings WHERE medium = ? AND address = ? AND user_id = ?", binding.key)
    return txn.fetchone() is not None


def withdraw_user(txn: Txn, now_ms: int, user_id: str) -> int:
    """Nothing belongs to ``user_id`` any more: how much did."""
    txn.execute("SELECT medium, address FROM sydent_py_bindings WHERE user_id = ? AND published = 1", (user_id,))
    rows = txn.fetchall()
    for medium, address in rows:
        withdraw(txn, now_ms, Binding(medium, address, user_id))
    return len(rows)


def due(txn: Txn, now_ms: int, limit: int = MAX_BATCH) -> list[Change]:
    """The oldest changes that are due."""
    txn.execute(
        "SELECT published, medium, address, user_id, changed_ts, seq, attempts FROM sydent_py_bindings"
        " WHERE waiting = 1 AND due_ts <= ? ORDER BY seq LIMIT ?",
        (now_ms, limit),
    )
    return [
        Change(BIND if published else UNBIND, Binding(medium, address, user_id), ts, seq, attempts)
        for published, medium, address, user_id, ts, seq, attempts in txn.fetchall()
    ]


def leaves(txn: Txn, change: Change) -> None:
    """From now on the identity server may know of the change."""
    txn.execute(
        "UPDATE sydent_py_bindings SET told = 1 WHERE medium = ? AND address = ? AND user_id = ? AND seq = ? AND told = 0",
        _key(change),
    )


def done(txn: Txn, change: Change, canonical: str) -> None:
    """The identity server has it, under this spelling, unless something newer has happened meanwhile."""
    if change.action == BIND:
        txn.execute(
            "UPDATE sydent_py_bindings SET waiting = 0, attempts = 0, refusal = NULL, canonical = ?"
            " WHERE medium = ? AND address = ? AND user_id = ? AND seq = ? AND waiting = 1",
            (canonical, *_key(change)),
        )
    else:
        txn.execute(
            "DELETE FROM sydent_py_bindings WHERE medium = ? AND address = ? AND user_id = ? AND seq = ? AND waiting = 1",
            _key(change),
        )


def refused(txn: Txn, change: Change, errcode: str, reason: str) -> None:
    """The identity server will not have it: it waits for the next reconciliation, and the admin is told why.

    What cannot be taken back because it cannot have been there is forgotten.
    """
    if change.action == UNBIND and errcode != CLOCK_IS_WRONG:
        done(txn, change, change.binding.address)
        return
    txn.execute(
        "UPDATE sydent_py_bindings SET waiting = 0, refusal = ?"
        " WHERE medium = ? AND address = ? AND user_id = ? AND seq = ? AND waiting = 1",
        (reason, *_key(change)),
    )


def superseded(txn: Txn, change: Change, now_ms: int, pause_ms: int) -> None:
    """The identity server knows something newer, and nobody but us can have told it: an answer was lost, or a clock was set
    back. Send the change again as a new one, after a pause.
    """
    ts, seq = _next(txn, now_ms)
    txn.execute(
        "UPDATE sydent_py_bindings SET changed_ts = ?, seq = ?, due_ts = ?, attempts = attempts + 1"
        " WHERE medium = ? AND address = ? AND user_id = ? AND seq = ? AND waiting = 1",
        (ts, seq, now_ms + pause_ms, *_key(change)),
    )


def again(txn: Txn, now_ms: int, binding: Binding, seq: int) -> bool:
    """The identity server has lost a binding, which it had been told as ``seq``; whether that is still how it stands."""
    ts, new_seq = _next(txn, now_ms)
    txn.execute(
        "UPDATE sydent_py_bindings SET waiting = 1, changed_ts = ?, seq = ?, due_ts = 0, attempts = 0, refusal = NULL"
        " WHERE medium = ? AND address = ? AND user_id = ? AND seq = ? AND waiting = 0 AND published = 1",
        (ts, new_seq, *binding.key, seq),
    )
    return bool(txn.rowcount)


def retry_refused(txn: Txn) -> int:
    """Send again what was refused, because the identity server's configuration may have changed: how much that is."""
    txn.execute("UPDATE sydent_py_bindings SET waiting = 1, due_ts = 0, refusal = NULL WHERE refusal IS NOT NULL")
    return txn.rowcount


@dataclass(frozen=True)
class Waiting:
    """How many changes wait. ``oldest_ts`` is 0 where none does."""

    count: int
    oldest_ts: int


def waiting(txn: Txn) -> Waiting:
    """How many changes wait."""
    txn.execute("SELECT COUNT(*), COALESCE(MIN(changed_ts), 0) FROM sydent_py_bindings WHERE waiting = 1")
    return Waiting(*txn.fetchone())


@dataclass(frozen=True)
class Known:
    """What the identity server has been told, and what it has refused."""

    published: int
    refused: int


def known(txn: Txn) -> Known:
    """What the identity server has been told, and what it has refused."""
    txn.execute("SELECT COUNT(*), COUNT(refusal) FROM sydent_py_bindings WHERE waiting = 0")
    told, refusals = txn.fetchone()
    return Known(told - refusals, refusals)


def refusals(txn: Txn, limit: int) -> list[tuple[str, str, int]]:
    """Why changes were refused: reason, one of the users, how many."""
    txn.execute(
        "SELECT refusal, MIN(user_id), COUNT(*) FROM sydent_py_bindings WHERE refusal IS NOT NULL"
        " GROUP BY refusal ORDER BY COUNT(*) DESC LIMIT ?",
        (limit,),
    )
    return [(reason, user_id, count) for reason, user_id, count in txn.fetchall()]


def is_empty(txn: Txn) -> bool:
    """Whether nothing waits, be it due or not."""
    txn.execute("SELECT 1 FROM sydent_py_bindings WHERE waiting = 1 LIMIT 1")
    return txn.fetchone() is None


def _key(change: Change) -> tuple[str, str, str, int]:
    return *change.binding.key, change.seq


def _next(txn: Txn, now_ms: int) -> tuple[int, int]:
    """When the change happens, never before the last one, whichever worker's clock is late; and its number."""
    txn.execute("UPDATE sydent_py_counter SET seq = seq + 1 WHERE one = 1")
    txn.execute("SELECT ts, seq FROM sydent_py_counter WHERE one = 1")
    ts, seq = txn.fetchone()
    ts = max(ts, now_ms) if ts - now_ms < MAX_CLOCK_STEP_MS else now_ms
    txn.execute("UPDATE sydent_py_counter SET ts = ? WHERE one = 1", (ts,))
    return ts, seq
