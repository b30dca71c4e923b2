"""What Synapse knows of addresses, compared with what is published; page by page, on tables of Synapse's own."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from sydent_py.synapse import queue
from sydent_py.synapse.binding import Binding
from sydent_py.synapse.consent import ACCOUNT_DATA_TYPE, Consent
from sydent_py.synapse.tables import Txn

PAGE = 500

# Before the first address there is.
START = ("", "", "")

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Page:
    """What was found on one page: where the next begins (None: there is none), how much was looked at, what has to change."""

    next: Key | None
    checked: int
    to_publish: int = 0
    to_withdraw: int = 0


def publish_missing(txn: Txn, after: Key, consent: Consent, now_ms: int, *, dry_run: bool) -> Page:
    """Queue the addresses of active users on one page that should be published and are not."""
    txn.execute(
        "SELECT t.medium, t.address, t.user_id, b.published FROM user_threepids AS t"
        " JOIN users AS u ON u.name = t.user_id AND u.deactivated = 0"
        " LEFT JOIN sydent_py_bindings AS b ON b.medium = t.medium AND b.address = t.address AND b.user_id = t.user_id"
        " WHERE (t.medium, t.address, t.user_id) > (?, ?, ?)"
        " ORDER BY t.medium, t.address, t.user_id LIMIT ?",
        (*after, PAGE),
    )
    rows = txn.fetchall()
    missing = [Binding(*row[:3]) for row in rows if not row[3] and consent.covers(row[0], row[1])]
    willing = consenting(txn, (binding.user_id for binding in missing), consent)
    missing = [binding for binding in missing if binding.user_id in willing]
    if not dry_run:
        for binding in missing:
            queue.publish(txn, now_ms, binding)
    return Page(_next(rows), len(rows), to_publish=len(missing))


def withdraw_surplus(txn: Txn, after: Key, consent: Consent, now_ms: int, *, dry_run: bool) -> Page:
    """Queue the withdrawal of what is published on one page and should not be any more."""
    txn.execute(
        "SELECT b.medium, b.address, b.user_id, u.name FROM sydent_py_bindings AS b"
        " LEFT JOIN user_threepids AS t ON t.medium = b.medium AND t.address = b.address AND t.user_id = b.user_id"
        " LEFT JOIN users AS u ON u.name = t.user_id AND u.deactivated = 0"
        " WHERE b.published = 1 AND (b.medium, b.address, b.user_id) > (?, ?, ?)"
        " ORDER BY b.medium, b.address, b.user_id LIMIT ?",
        (*after, PAGE),
    )
    rows = txn.fetchall()
    willing = consenting(txn, (row[2] for row in rows), consent)
    surplus = [Binding(*row[:3]) for row in rows if not (row[3] and consent.covers(row[0], row[1]) and row[2] in willing)]
    if not dry_run:
        for binding in surplus:
            queue.withdraw(txn, now_ms, binding)
    return Page(_next(rows), len(rows), to_withdraw=len(surplus))


@dataclass(frozen=True)
class Published:
    """What the identity server has confirmed: in its spelling, and in ours; ``seq`` is of the change that told it."""

    theirs: Binding
    ours: Binding
    seq: int


def published(txn: Txn, after: Key) -> tuple[list[Published], Key | None]:
    """One page of what the identity server has confirmed, and where the next one begins."""
    txn.execute(
        "SELECT medium, address, user_id, canonical, seq FROM sydent_py_bindings"
        " WHERE published = 1 AND waiting = 0 AND refusal IS NULL AND (medium, address, user_id) > (?, ?, ?)"
        " ORDER BY medium, address, user_id LIMIT ?",
        (*after, PAGE),
    )
    rows = txn.fetchall()
    return [Published(Binding(row[0], row[3], row[2]), Binding(*row[:3]), row[4]) for row in rows], _next(rows)


def is_published(txn: Txn, binding: Binding) -> bool:
    """Whether the user's address is to be known, in whichever spelling."""
    txn.execute(
        "SELECT 1 FROM sydent_py_bindings WHERE medium = ? AND user_id = ? AND published = 1 AND (canonical = ? OR address = ?)",
        (binding.medium, binding.user_id, binding.address, binding.address),
    )
    return txn.fetchone() is not None


def owner(txn: Txn, medium: str, address: str) -> str | None:
    """Whom the homeserver itself knows by this address."""
    txn.execute("SELECT user_id FROM user_threepids WHERE medium = ? AND address = ?", (medium, address))
    row = txn.fetchone()
    return row and str(row[0])


def addresses(txn: Txn, user_id: str) -> list[Binding]:
    """All that the homeserver knows a user by."""
    txn.execute("SELECT medium, address FROM user_threepids WHERE user_id = ?", (user_id,))
    return [Binding(medium, address, user_id) for medium, address in txn.fetchall()]


def consenting(txn: Txn, user_ids: Iterable[str], consent: Consent) -> set[str]:
    """Those of ``user_ids`` whose account data lets their addresses be published."""
    asked = sorted(set(user_ids))
    said = {}
    if asked:
        marks = ", ".join("?" * len(asked))
        txn.execute(
            f"SELECT user_id, content FROM account_data WHERE account_data_type = ? AND user_id IN ({marks})",  # noqa: S608
            (ACCOUNT_DATA_TYPE, *asked),
        )
        said = {user_id: json.loads(content) for user_id, content in txn.fetchall()}
    return {user_id for user_id in asked if consent.is_given(said.get(user_id))}


def _next(rows: list[tuple[str, ...]]) -> Key | None:
    return (rows[-1][0], rows[-1][1], rows[-1][2]) if len(rows) == PAGE else None
