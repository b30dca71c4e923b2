"""``sydent-py peers check``: whether this server and its peers fit together, and what to do where they do not."""

import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

import click

from sydent_py.cli.database import services_of
from sydent_py.cli.options import takes_config
from sydent_py.cli.peers_shown import known_log
from sydent_py.cli.terminal import printable, printable_json, printable_lines
from sydent_py.replication.check import Finding
from sydent_py.settings import load

_MARKS = {"ok": "ok", "warning": "look", "wrong": "WRONG"}


@click.command(short_help="Ask the peers whether all is well.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def check(config: Path | None, *, name: str | None, as_json: bool) -> None:
    """Ask the peer NAME, or every peer, whether it is there, has the keys that are pinned, and takes our requests.

    Nothing changes by it. Status 1 if something is wrong.
    """
    with services_of(load(config)) as built:
        if name is not None:
            known_log(built, name)
        wanted = built.peering.peers if name is None else (name,)
        found: dict[str, list[Finding]] = {}
        for each in wanted:
            found[each] = built.peering.check[each]()
            if not as_json:
                click.echo(_in_words(each, found[each]) + "\n")
    if as_json:
        peers = [{"name": each, "findings": [asdict(finding) for finding in findings]} for each, findings in found.items()]
        click.echo(printable_json({"peers": peers}))
    elif not found:
        click.echo("The configuration names no peers. To make one: sydent-py peers add https://id.partner.org")
    if any(finding.verdict == "wrong" for findings in found.values() for finding in findings):
        sys.exit(1)


def _in_words(name: str, findings: list[Finding]) -> str:
    return "\n".join([name, *map(_finding_in_words, findings)])


def _finding_in_words(finding: Finding) -> str:
    lines = [f"  {_MARKS[finding.verdict]:5}  {finding.subject}: {printable(finding.found)}"]
    lines += [f"         What to do: {printable(finding.advice)}"] if finding.advice else []
    for evidence in finding.evidence:
        lines += ["", textwrap.indent(printable_lines(evidence), " " * 11)]
    return "\n".join(lines)
