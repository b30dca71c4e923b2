"""Whether two servers, or an identity server and a homeserver, say the same of a user's keys; with no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, pairwise
from typing import Any

from sydent_py.keys.entry import Entry, NotVerified
from sydent_py.keys.statement import Malformed, cross_signing_key
from sydent_py.keys.verify import Current, check_one_tree


class Verdict(StrEnum):
    """What came of comparing what two servers show of one chain; ``here`` is the first of them."""

    SAME = "same"
    HERE_IS_BEHIND = "here_is_behind"
    THERE_IS_BEHIND = "there_is_behind"
    REPLACED = "replaced"
    CONTRADICTION = "contradiction"


@dataclass(frozen=True)
class Comparison:
    """A verdict, in words too; ``evidence`` are the two entries that do not go together, that of ``here`` first."""

    verdict: Verdict
    message: str
    evidence: tuple[Entry, ...] = ()

    @property
    def is_agreement(self) -> bool:
        """Whether both show the same chain, though one of them perhaps not all of it."""
        return not self.evidence


class Match(StrEnum):
    """What came of comparing published keys with those that a homeserver serves."""

    MATCH = "match"
    MISMATCH = "mismatch"
    PENDING = "pending"
    UNPUBLISHED = "unpublished"
    NOT_SERVED = "not_served"


def compare(here: Sequence[Entry], there: Sequence[Entry]) -> Comparison:
    """What two servers show of one user's chain in one log: the ``entries`` of two verified answers or histories.

    Histories say all; from two answers, a chain in which there are statements between them is taken to be one.
    """
    _check_comparable(here, there)
    try:
        check_one_tree(chain(here, there))
    except NotVerified as error:
        return Comparison(Verdict.CONTRADICTION, f"{error}.", _trees(here, there))
    differing = _differing(here, there)
    if differing is not None:
        return _conflict(here, there, differing)
    newest = here[-1].statement.seq, there[-1].statement.seq
    if newest[0] == newest[1]:
        return Comparison(Verdict.SAME, "Both show the same.")
    verdict = Verdict.HERE_IS_BEHIND if newest[0] < newest[1] else Verdict.THERE_IS_BEHIND
    return Comparison(
        verdict, f"Both show the same chain, one up to statement {min(newest)} and the other up to {max(newest)}."
    )


def compare_with_homeserver(current: Current | None, keys_query: Any, user_id: str) -> Match:
    """Whether a homeserver's answer to ``/keys/query`` has the master key that counts; None where no keys are published.

    ``PENDING`` where it has the key of a reset that waits, and ``NOT_SERVED`` where it has none.
    """
    if current is None:
        return Match.UNPUBLISHED
    masters = keys_query.get("master_keys") if isinstance(keys_query, dict) else None
    served = masters.get(user_id) if isinstance(masters, dict) else None
    if served is None:
        return Match.NOT_SERVED
    try:
        key = cross_signing_key(served, "master", user_id)
    except Malformed:
        return Match.MISMATCH
    if key == current.entry.statement.master:
        return Match.MATCH
    return Match.PENDING if current.pending is not None and key == current.pending.statement.master else Match.MISMATCH


def _check_comparable(here: Sequence[Entry], there: Sequence[Entry]) -> None:
    if len({(each.statement.log, each.statement.user_id) for each in chain(here, there)}) != 1:
        raise ValueError("what is compared is of one user and of one log")


def _trees(here: Iterable[Entry], there: Sequence[Entry]) -> tuple[Entry, ...]:
    roots = {each.checkpoint.size: each for each in there}
    pairs = ((each, roots.get(each.checkpoint.size)) for each in here)
    return next((one, other) for one, other in pairs if other is not None and one.checkpoint.root != other.checkpoint.root)


def _differing(here: Sequence[Entry], there: Sequence[Entry]) -> tuple[Entry, Entry] | None:
    """The first two entries, that of ``here`` first, which cannot both be of one chain."""
    ours, theirs = ({each.statement.seq: each for each in entries} for entries in (here, there))
    for seq in sorted(ours.keys() & theirs.keys()):
        if not _go_together(ours[seq], theirs[seq]):
            return ours[seq], theirs[seq]
    merged = sorted(ours.keys() | theirs.keys())
    for before, after in pairwise(merged):
        for one, other in ((ours.get(before), theirs.get(after)), (ours.get(after), theirs.get(before))):
            if one is not None and other is not None and not _go_together(one, other):
                return one, other
    return None


def _go_together(one: Entry, other: Entry) -> bool:
    if one.statement.seq > other.statement.seq:
        one, other = other, one
    if one.statement.seq == other.statement.seq:
        return one.commitment == other.commitment and one.index == other.index
    is_linked = one.statement.seq + 1 < other.statement.seq or other.statement.prev == one.statement.hash
    return is_linked and one.index < other.index and one.ts <= other.ts


def _conflict(here: Sequence[Entry], there: Sequence[Entry], differing: tuple[Entry, Entry]) -> Comparison:
    commitments = {each.commitment for each in here}
    older, newer = sorted((here, there), key=lambda entries: entries[0].index)
    if older[-1].index < newer[0].index and not any(each.commitment in commitments for each in there):
        message = (
            "The log has two chains of this user, one after the other. Either the user has revoked or erased the first and begun anew, or "
            "the server has begun one in the user's name: ask the user."
        )
        return Comparison(Verdict.REPLACED, message, differing)
    message = (
        "The log holds two statements of which each excludes the other: the server shows different keys to different people."
    )
    return Comparison(Verdict.CONTRADICTION, message, differing)
