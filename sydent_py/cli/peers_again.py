"""``sydent-py peers resume`` and ``sydent-py peers resync``: going on with a peer, from where it was stopped or from the beginning."""

import sys
from pathlib import Path

import click

from sydent_py.cli.database import services_of
from sydent_py.cli.options import takes_config
from sydent_py.cli.peers_shown import known_log, known_peer
from sydent_py.cli.terminal import printable
from sydent_py.replication.resume import NotResumed
from sydent_py.replication.status import Standing
from sydent_py.services import Services
from sydent_py.settings import load


@click.command(short_help="Follow a stopped peer again, from where it was stopped.")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@takes_config
def resume(config: Path | None, *, name: str, yes: bool) -> None:
    """Follow the stopped peer NAME on from the first entry that was not taken over.

    For when you have judged the evidence, and the peer has mended itself. If it shows the same fault once more it is stopped again.
    """
    with services_of(load(config)) as built:
        known_log(built, name)
        standing = _standing(built, name)
        if not yes and standing.state == "stopped":
            _confirm_resume(standing)
        try:
            built.peering.resume(name)
        except NotResumed as refusal:
            raise click.ClickException(printable(str(refusal))) from refusal
    click.echo(
        f"{name} is followed again, from entry {standing.entries:,} on. The evidence stays on record. In a moment, whether all is "
        f"well: sydent-py peers check {name}"
    )


@click.command(short_help="Forget what a peer has said, and begin anew with it.")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@takes_config
def resync(config: Path | None, *, name: str, yes: bool) -> None:
    """Forget everything that the peer NAME has said, and follow its log anew from its first entry.

    It is also how a stopped peer is followed again where 'sydent-py peers resume' will not do, and one that has begun another log.
    Of one that runs Sydent, take over what it pushes from now on.
    """
    with services_of(load(config)) as built:
        known_peer(built, name)
        if name in built.peering.peers:
            if not yes:
                _confirm_resync(_standing(built, name))
            built.peering.resync(name)
            click.echo(f"What {name} has said is forgotten. The background worker now reads its log from the first entry.")
            return
        if not yes:
            _confirm_sydent_resync(name)
        built.sydent.resync(name)
    click.echo(
        f"What {name} has pushed is forgotten. It pushes what is new there; for all that it has, its operator has to begin anew with "
        "this server, too: docs/sydent.md"
    )


def _standing(built: Services, name: str) -> Standing:
    [standing] = [each for each in built.peering.status.standings() if each.name == name]
    return standing


def _confirm_resume(standing: Standing) -> None:
    click.echo(
        f"{standing.name} was stopped: {printable(standing.error or '')}. 'sydent-py peers check {standing.name}' shows the evidence. "
        f"Entries that were taken over until then: {standing.entries:,}. They stay, and what comes after them is taken over.",
        err=True,
    )
    _ask(f"Have you judged the evidence, and shall {standing.name} be followed on?")


def _confirm_resync(standing: Standing) -> None:
    click.echo(
        f"Entries of {standing.name} that were taken over: {standing.entries:,}. What came of them is forgotten at once, and lookups do not "
        "answer it until its log was read again. What others have said stays.",
        err=True,
    )
    if standing.state == "stopped":
        click.echo(
            f"It was stopped: {printable(standing.error or '')}. The evidence is forgotten too: keep what "
            f"'sydent-py peers check {standing.name}' shows. If it has mended itself, 'sydent-py peers resume {standing.name}' "
            "forgets nothing.",
            err=True,
        )
    _ask(f"Forget what {standing.name} has said?")


def _confirm_sydent_resync(name: str) -> None:
    click.echo(
        f"{name} runs Sydent. What it has pushed is forgotten at once, and lookups do not answer it any more. A Sydent pushes by itself "
        "only what is new there: have its operator begin anew with this server, too (docs/sydent.md). What others have said stays.",
        err=True,
    )
    _ask(f"Forget what {name} has pushed?")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("There is nobody to ask: confirm it with --yes.")
    click.confirm(question, abort=True, err=True)
