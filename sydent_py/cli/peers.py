"""``sydent-py peers``: the identity servers that this one trusts, and how it gets on with them."""

from dataclasses import asdict
from pathlib import Path

import click

from sydent_py.cli.database import services_of
from sydent_py.cli.options import takes_config
from sydent_py.cli.peers_add import add
from sydent_py.cli.peers_again import resume, resync
from sydent_py.cli.peers_check import check
from sydent_py.cli.peers_shown import conflicts, quarantine
from sydent_py.cli.terminal import printable, printable_json
from sydent_py.cli.times import moment, span
from sydent_py.replication.status import Standing
from sydent_py.replication.sydent_peering import Status as SydentStatus
from sydent_py.settings import load


@click.group(short_help="Trusted identity servers: what is known of them, what is wrong, what to do.")
def peers() -> None:
    """The identity servers of [[peers]], whose logs are followed and which follow ours: docs/replication.md."""


peers.add_command(add)
peers.add_command(check)
peers.add_command(conflicts)
peers.add_command(quarantine)
peers.add_command(resume)
peers.add_command(resync)


@peers.command("list", short_help="Show every peer, and how far it is followed.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def list_peers(config: Path | None, *, as_json: bool) -> None:
    """Show what is known of every peer, without asking it."""
    with services_of(load(config)) as built:
        standings, conflicts = built.peering.status.standings(), built.peering.status.conflict_counts()
        sydents = built.sydent.status()
    if as_json:
        shown = [{**standing.to_json(), "conflicts": conflicts.get(standing.name, 0)} for standing in standings]
        click.echo(printable_json({"peers": shown, "sydent_peers": [asdict(each) for each in sydents]}))
    elif standings or sydents:
        paragraphs = [_in_words(standing, conflicts.get(standing.name, 0)) for standing in standings]
        click.echo("\n\n".join([*paragraphs, *map(_sydent_in_words, sydents)]))
    else:
        click.echo("The configuration names no peers. To make one: sydent-py peers add https://id.partner.org")


_DIRECTIONS = {
    (True, True): "we follow each other",
    (True, False): "we follow it, and it gets nothing of ours",
    (False, True): "it follows us, and we take nothing of it",
}


def _in_words(standing: Standing, conflicts: int) -> str:
    lines = [
        f"{standing.name}: {standing.state.upper() if standing.state == 'stopped' else standing.state}",
        f"  Direction:    {_DIRECTIONS[standing.is_followed, standing.is_served]}",
    ]
    if standing.is_followed:
        behind = f", {standing.lag_entries:,} behind" if standing.lag_entries else ""
        verified = (
            "never"
            if standing.verified_at_ms is None
            else f"{moment(standing.verified_at_ms)}, {span(standing.lag_ms or 0)} ago"
        )
        lines += [f"  Entries:      {standing.entries:,} taken over{behind}", f"  Last checked: {verified}"]
        lines.append(f"  Cosigned:     its log, by us, at {standing.cosigned_entries:,} entries")
    if standing.is_served:
        lines.append(f"  Cosigned:     our log, by it, at {standing.cosigned_by_it:,} entries")
    if standing.error is not None:
        when = "" if standing.failed_at_ms is None else f"{moment(standing.failed_at_ms)}: "
        lines.append(f"  Last error:   {when}{printable(standing.error)}")
    if standing.quarantined:
        lines.append(f"  Put aside:    {standing.quarantined:,}: sydent-py peers quarantine {standing.name}")
    if conflicts:
        lines.append(f"  In conflict:  {conflicts:,}: sydent-py peers conflicts")
    if standing.state in {"stopped", "failing", "never reached"}:
        lines.append(f"  What to do:   sydent-py peers check {standing.name}")
    elif standing.state == "behind" and not standing.lag_entries:
        lines.append("  What to do:   nobody looks at it: is the background worker running?")
    return "\n".join(lines)


def _sydent_in_words(sydent: SydentStatus) -> str:
    received = "never" if sydent.received_at_ms is None else moment(sydent.received_at_ms)
    lines = [f"{sydent.name}: runs Sydent", f"  Last push:    {received}"]
    lines += [] if sydent.behind is None else [f"  To be sent:   {sydent.behind:,} of our entries"]
    lines += (
        [f"  Put aside:    {sydent.quarantined:,}: sydent-py peers quarantine {sydent.name}"] if sydent.quarantined else []
    )
    lines += [f"  Last error:   {printable(sydent.error)}"] if sydent.error else []
    return "\n".join(lines)
