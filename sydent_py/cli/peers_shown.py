"""``sydent-py peers quarantine`` and ``sydent-py peers conflicts``: what of the peers' entries is doubtful."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from sydent_py.bindings.conflicts import Conflict, Vouched
from sydent_py.cli.database import services_of
from sydent_py.cli.options import takes_config
from sydent_py.cli.terminal import printable, printable_json
from sydent_py.cli.times import moment
from sydent_py.keys.canonical import encode_base64
from sydent_py.keys.register import Current
from sydent_py.replication.status import PutAside
from sydent_py.replication.sydent_peering import PutAside as RowPutAside
from sydent_py.services import Services
from sydent_py.settings import load

LIMIT = 1000


def known_peer(built: Services, name: str) -> None:
    """Raise a ``UsageError`` where the configuration has no peer of this name."""
    known = sorted({*built.peering.peers, *built.sydent.names})
    if name not in known:
        names = f"It names {', '.join(known)}." if known else "It names none."
        raise click.UsageError(f"The configuration names no peer {printable(name)}. {names}")


def known_log(built: Services, name: str) -> None:
    """The same, and where the peer of this name runs Sydent: it has no log to be followed."""
    known_peer(built, name)
    if name not in built.peering.peers:
        raise click.UsageError(f"{name} runs Sydent, and has no log. What is known of it: sydent-py peers list")


@click.command(short_help="Show what of a peer was put aside.")
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="So many, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def quarantine(config: Path | None, *, name: str, limit: int, as_json: bool) -> None:
    """Show the entries of the peer NAME that were not taken over, why, and what is in them: addresses, in clear.

    Of one that runs Sydent, the rows.
    """
    with services_of(load(config)) as built:
        known_peer(built, name)
        found = _entries(built, name, limit) if name in built.peering.peers else _rows(built, name, limit)
    if as_json:
        click.echo(printable_json({"peer": name, "count": found.count, found.things: found.for_scripts}))
    elif found.in_words:
        click.echo("\n\n".join(found.in_words))
        if found.count > len(found.in_words):
            click.echo(f"\n{found.count - len(found.in_words):,} older ones are not shown: --limit {found.count}")
    else:
        click.echo(f"No {found.things} of {name} were put aside: all that were read were taken over.")


@dataclass(frozen=True)
class _Quarantine:
    """``things``, of which ``count`` were put aside, and the newest of them."""

    things: str
    count: int
    for_scripts: list[dict[str, object]]
    in_words: list[str]


def _entries(built: Services, name: str, limit: int) -> _Quarantine:
    count, entries = built.peering.status.quarantine(name, limit)
    for_scripts = [{**asdict(entry), "payload": _parsed(entry.payload)} for entry in entries]
    return _Quarantine("entries", count, for_scripts, list(map(_entry_in_words, entries)))


def _rows(built: Services, name: str, limit: int) -> _Quarantine:
    count, rows = built.sydent.quarantine(name, limit)
    for_scripts = [{**asdict(row), "content": _parsed(row.content)} for row in rows]
    return _Quarantine("rows", count, for_scripts, list(map(_row_in_words, rows)))


def _parsed(sealed: str | None) -> object:
    return json.loads(sealed) if sealed else None


@click.command(short_help="Show addresses that servers give to different users, and users whose keys differ.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="So many addresses, and users.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def conflicts(config: Path | None, *, limit: int, as_json: bool) -> None:
    """Show addresses, in clear, that this server and its peers give to different users, and which one lookups answer.

    Then users of whom they say that different keys are theirs.
    """
    with services_of(load(config)) as built:
        found, own = built.peering.status.conflicts(limit), built.server_name
        keys = built.keys.register.differences(built.database, limit)
    if as_json:
        of_keys = [_keys_for_scripts(user_id, said) for user_id, said in keys.items()]
        click.echo(printable_json({"conflicts": [_conflict_for_scripts(each) for each in found], "keys": of_keys}))
        return
    shown = [_conflict_in_words(each, own) for each in found]
    shown += [_keys_in_words(user_id, said, own) for user_id, said in keys.items()]
    click.echo("\n\n".join(shown) or "No address is given to different users, and nobody's keys differ.")
    if limit in (len(found), len(keys)):
        click.echo(f"\nThere may be more: --limit {limit * 10}")


def _entry_in_words(entry: PutAside) -> str:
    what = f"{printable(entry.kind)}, {moment(entry.ts)}" if entry.kind else "no entry that this version knows"
    lines = [f"Entry {entry.index:,}: {what}", f"  Why: {printable(entry.reason)}"]
    return "\n".join([*lines, *([f"  {printable(entry.payload)}"] if entry.payload else [])])


def _row_in_words(row: RowPutAside) -> str:
    lines = [f"Row {row.row_id}: pushed {moment(row.received_at_ms)}", f"  Why: {printable(row.reason)}"]
    return "\n".join([*lines, *([f"  {printable(row.content)}"] if row.content else [])])


def _conflict_for_scripts(conflict: Conflict) -> dict[str, object]:
    threepid = conflict.threepid
    return {
        "medium": threepid.medium,
        "address": threepid.address,
        "claims": [asdict(claim) for claim in conflict.claims],
    }


def _conflict_in_words(conflict: Conflict, own: str) -> str:
    return "\n".join([printable(conflict.threepid.address), *(_claim_in_words(each, own) for each in conflict.claims)])


def _keys_for_scripts(user_id: str, said: Sequence[Current]) -> dict[str, object]:
    claims = [{"origin": each.origin, "master": encode_base64(each.row.master), "ts": each.row.ts} for each in said]
    return {"user_id": user_id, "claims": claims}


def _keys_in_words(user_id: str, said: Sequence[Current], own: str) -> str:
    lines = [
        f"  {encode_base64(each.row.master)}, says {'this server' if each.origin == own else printable(each.origin)} "
        f"since {moment(each.row.ts)}"
        for each in said
    ]
    return "\n".join([f"{printable(user_id)}, whose keys differ", *lines])


def _claim_in_words(claim: Vouched, own: str) -> str:
    origin = "this server" if claim.origin == own else claim.origin
    answered = ", which lookups answer" if claim.is_answered else ""
    return f"  {printable(claim.user_id)}, says {printable(origin)} since {moment(claim.ts)}{answered}"
