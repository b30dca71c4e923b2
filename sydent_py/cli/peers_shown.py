"""``sydent-py peers quarantine`` and ``sydent-py peers conflicts``: what of the peers' entries is doubtful."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from sydent_py.bindings.conflicts import Conflict, Vouched
from sydent_py.cli.database import services_of
from sydent_py.cli.options import takes_config
from sydent_py.cli.terminal import printable, printable_json
from sydent_py.cli.times import moment
from sydent_py.replication.status import PutAside
from sydent_py.services import Services
from sydent_py.settings import load

LIMIT = 1000


def known_peer(built: Services, name: str) -> None:
    """Raise a ``UsageError`` where the configuration has no peer of this name."""
    known = sorted(built.peering.peers)
    if name not in known:
        names = f"It names {', '.join(known)}." if known else "It names none."
        raise click.UsageError(f"The configuration names no peer {printable(name)}. {names}")


@click.command(short_help="Show the entries of a peer that were put aside.")
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="So many, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def quarantine(config: Path | None, *, name: str, limit: int, as_json: bool) -> None:
    """Show the entries of the peer NAME that were not taken over, why, and what is in them: addresses, in clear."""
    with services_of(load(config)) as built:
        known_peer(built, name)
        count, entries = built.peering.status.quarantine(name, limit)
    if as_json:
        shown = [{**asdict(entry), "payload": json.loads(entry.payload) if entry.payload else None} for entry in entries]
        click.echo(printable_json({"peer": name, "count": count, "entries": shown}))
        return
    if not entries:
        click.echo(f"Every entry of {name} that was read was taken over.")
        return
    click.echo("\n\n".join(map(_entry_in_words, entries)))
    if count > len(entries):
        click.echo(f"\n{count - len(entries):,} older ones are not shown: --limit {count}")


@click.command(short_help="Show addresses that servers give to different users.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="So many addresses.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def conflicts(config: Path | None, *, limit: int, as_json: bool) -> None:
    """Show addresses, in clear, that this server and its peers give to different users, and which one lookups answer."""
    with services_of(load(config)) as built:
        found, own = built.peering.status.conflicts(limit), built.server_name
    if as_json:
        click.echo(printable_json({"conflicts": [_conflict_for_scripts(each) for each in found]}))
    elif found:
        click.echo("\n\n".join(_conflict_in_words(each, own) for each in found))
        if len(found) == limit:
            click.echo(f"\nThere may be more: --limit {limit * 10}")
    else:
        click.echo("No address is given to different users.")


def _entry_in_words(entry: PutAside) -> str:
    what = f"{printable(entry.kind)}, {moment(entry.ts)}" if entry.kind else "no entry that this version knows"
    lines = [f"Entry {entry.index:,}: {what}", f"  Why: {printable(entry.reason)}"]
    return "\n".join([*lines, *([f"  {printable(entry.payload)}"] if entry.payload else [])])


def _conflict_for_scripts(conflict: Conflict) -> dict[str, object]:
    threepid = conflict.threepid
    return {
        "medium": threepid.medium,
        "address": threepid.address,
        "claims": [asdict(claim) for claim in conflict.claims],
    }


def _conflict_in_words(conflict: Conflict, own: str) -> str:
    return "\n".join([printable(conflict.threepid.address), *(_claim_in_words(each, own) for each in conflict.claims)])


def _claim_in_words(claim: Vouched, own: str) -> str:
    origin = "this server" if claim.origin == own else claim.origin
    answered = ", which lookups answer" if claim.is_answered else ""
    return f"  {printable(claim.user_id)}, says {printable(origin)} since {moment(claim.ts)}{answered}"
