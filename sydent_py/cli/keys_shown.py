"""What came of verifying a user's keys, in words and for scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sydent_py.cli.keys_asked import Compared, Outcome
from sydent_py.cli.terminal import printable, printable_lines
from sydent_py.cli.times import moment
from sydent_py.keys.canonical import encode_base64
from sydent_py.keys.chain import Link
from sydent_py.keys.compare import Match
from sydent_py.keys.entry import Entry
from sydent_py.keys.verify import Current

_MATCHES = {
    Match.MATCH: "The homeserver serves the same master key.",
    Match.MISMATCH: "The homeserver serves ANOTHER master key: one of the two servers does not tell the truth, or the user has to "
    "publish the new one.",
    Match.PENDING: "The homeserver serves the master key of the reset that waits. Until then it is not the one that counts.",
    Match.NOT_SERVED: "The homeserver serves no master key of this user.",
    Match.UNPUBLISHED: "There is no published key to compare that of the homeserver with.",
}


@dataclass(frozen=True)
class Findings:
    """All that was found out: ``others`` are origins that were not verified, with the master keys that are said to be theirs."""

    user_id: str
    server: str
    outcomes: Sequence[Outcome]
    others: Mapping[str, str | None]
    compared: Sequence[Compared] = ()
    match: Match | None = None
    with_statements: bool = False

    @property
    def is_fine(self) -> bool:
        """Whether every origin that was asked for is verified, and nothing contradicts it."""
        is_matched = self.match in (None, Match.MATCH)
        return not self._failed and len(self._masters) == 1 and is_matched and all(each.is_fine for each in self.compared)

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "user_id": self.user_id,
            "server": self.server,
            "verified": self.is_fine,
            "origins": {
                each.origin: _outcome_for_scripts(each, with_statements=self.with_statements) for each in self.outcomes
            },
            "not_verified": dict(self.others),
            **({"against": [_compared_for_scripts(each) for each in self.compared]} if self.compared else {}),
            **({"homeserver": str(self.match)} if self.match else {}),
        }

    def in_words(self) -> str:
        """For people: what is good."""
        paragraphs = [
            _current_in_words(each.current, each, with_statements=self.with_statements)
            for each in self.outcomes
            if each.current
        ]
        paragraphs += ["\n".join(_compared_in_words(each) for each in self.compared if each.is_fine)]
        paragraphs += [_MATCHES[self.match]] if self.match is Match.MATCH else []
        paragraphs += [_unpinned_in_words(each) for each in self.outcomes if each.unpinned and each.current]
        return "\n\n".join(filter(None, paragraphs))

    def problems(self) -> str:
        """For people: what is wrong, or was not looked at."""
        lines = []
        for each in self._failed:
            assert each.failure is not None
            lines.append(f"Error: the keys of {self.user_id} at {each.origin} are not verified: {each.failure}.")
            lines += [f"\nA checkpoint that its log has signed:\n\n{evidence}" for evidence in each.failure.evidence]
        if len(self._masters) > 1:
            lines.append(
                f"Error: {' and '.join(each.origin for each in self.outcomes)} have different master keys of this user."
            )
        lines += [_compared_in_words(each) for each in self.compared if not each.is_fine]
        lines += [f"Error: {_MATCHES[self.match]}"] if self.match not in (None, Match.MATCH) else []
        for origin, master in self.others.items():
            claim = (
                "the same master key"
                if master in self._masters
                else f"the master key {master}"
                if master
                else "keys that are none"
            )
            lines.append(
                f"{origin} is said to have {claim}. That was not verified: to do so, name the keys of {origin} with --log-key and "
                f"--verify-key."
            )
        return "\n".join(map(printable_lines, lines))

    @property
    def _failed(self) -> list[Outcome]:
        return [each for each in self.outcomes if each.failure]

    @property
    def _masters(self) -> set[str]:
        return {each.current.master for each in self.outcomes if each.current}


def _outcome_for_scripts(outcome: Outcome, *, with_statements: bool) -> dict[str, Any]:
    pinned = {"log": str(outcome.pins.log), "unpinned": list(outcome.unpinned)}
    if outcome.failure or not outcome.current:
        failure = outcome.failure
        assert failure is not None
        said = {"verified": False, "reason": str(failure.reason), "message": str(failure)}
        return {**said, **pinned, **({"evidence": list(failure.evidence)} if failure.evidence else {})}
    current, history = outcome.current, outcome.history
    waits = current.pending and {**_entry_for_scripts(current.pending), "counts_from_ms": current.counts_from_ms}
    return {
        "verified": True,
        **pinned,
        **_entry_for_scripts(current.entry),
        "keys": dict(current.keys),
        "witnesses": list(current.entry.witnesses),
        "pending": waits,
        **({"statements": [_entry_for_scripts(each) for each in history.entries]} if history and with_statements else {}),
        "checkpoint": str(current.entry.note),
    }


def _entry_for_scripts(entry: Entry) -> dict[str, Any]:
    statement = entry.statement
    place = {"seq": statement.seq, "op": statement.op, "ts": entry.ts, "index": entry.index}
    return {"master": encode_base64(statement.master), **place}


def _compared_for_scripts(compared: Compared) -> dict[str, Any]:
    said = {"url": compared.url, "origin": compared.origin}
    if compared.comparison is None:
        return {**said, "verdict": None, "message": compared.reason}
    evidence = {"evidence": list(compared.evidence)} if compared.evidence else {}
    return {**said, "verdict": str(compared.comparison.verdict), "message": compared.comparison.message, **evidence}


def _current_in_words(current: Current, outcome: Outcome, *, with_statements: bool) -> str:
    entry, history = current.entry, outcome.history
    proof = (
        f"entry {entry.index:,} of {entry.statement.log}, proved under its checkpoint of {entry.checkpoint.size:,} entries"
    )
    lines = [
        f"The keys of {current.user_id} at {current.origin}:",
        f"  Master key:  {current.master}",
        *_more_keys_in_words(current.keys),
        f"  Since:       {moment(entry.link.counts_from_ms)}, by statement {entry.statement.seq}: {entry.statement.op}",
        f"  Proof:       {proof}",
        f"  Witnesses:   {', '.join(entry.witnesses) if entry.witnesses else 'none was named'}",
    ]
    if history is not None and not with_statements:
        count = len(history.entries)
        lines.append(f"  History:     {_count(count, 'statement')}, every one proved, and each continues the one before")
    if current.pending is not None:
        new, when = encode_base64(current.pending.statement.master), moment(current.pending.link.counts_from_ms)
        lines += [
            f"  RESET:       from {when} on the master key is {new},",
            "               unless the key above cancels that.",
        ]
    if history is not None and with_statements:
        lines += ["", *map(_statement_in_words, history.entries)]
    return "\n".join(map(printable, lines))


def _statement_in_words(entry: Entry) -> str:
    statement, link = entry.statement, Link(entry.statement, entry.ts)
    later = f", counts from {moment(link.counts_from_ms)}" if link.is_reset else ""
    return f"  {statement.seq:>4}  {moment(entry.ts)}  {statement.op:7}  {encode_base64(statement.master)}{later}"


def _more_keys_in_words(keys: Mapping[str, Any]) -> list[str]:
    lines = []
    if "self_signing" in keys:
        [public_key] = keys["self_signing"]["keys"].values()
        lines.append(f"  Self-signing: {public_key}")
    lines += [f"  Curve25519:  {name}: {key}" for name, key in keys.get("curve25519", {}).items()]
    return [*lines, *(f"  {name + ':':12} {fingerprint}" for name, fingerprint in keys.get("application", {}).items())]


def _compared_in_words(compared: Compared) -> str:
    if compared.comparison is None:
        return printable(f"Error: {compared.url} was not compared. {compared.reason}")
    found = compared.comparison
    about = f"{compared.origin}, and what {compared.url} has of it"
    if compared.is_fine:
        return printable(f"Compared with {about}: {found.message}")
    if found.is_agreement:
        return printable(
            f"Error: {compared.origin} shows less than {compared.url} has of it. {found.message} Please ask again in a moment: if it stays so, "
            f"{compared.origin} keeps the newest statement back."
        )
    lines = [f"Error: {about} do not go together. {found.message}"]
    for where, entry in zip((compared.origin, compared.url), found.evidence, strict=True):
        lines.append(f"  {where}: {_statement_in_words(entry).strip()}, entry {entry.index:,} of {entry.checkpoint.size:,}")
    lines.append(
        "--json has both entries with their proofs. Keep them: the log has signed both, which convinces others too."
    )
    return "\n".join(map(printable, lines))


def _unpinned_in_words(outcome: Outcome) -> str:
    options = "\n".join(f"  {printable(option)}" for option in outcome.unpinned)
    return (
        f"These keys of {printable(outcome.origin)} were not pinned: they were taken from the server itself, and so prove nothing against it. "
        f"Compare them with what its operator tells you in another way, and name them next time:\n{options}"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
