"""``sydent-py peers add``: what two operators need to make each other's servers peers."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from sydent_py import installation
from sydent_py.cli.options import takes_config
from sydent_py.cli.terminal import printable, printable_json
from sydent_py.clock import SystemClock
from sydent_py.federation.remote import BaseUrl, Remote
from sydent_py.federation.transport import RequestFailed
from sydent_py.peer_settings import Peer
from sydent_py.replication.introduction import Introduction, NoPeer, introduce, introduce_us
from sydent_py.settings import Settings, load

# A server that nobody has named yet is waited for while somebody looks on.
TIMEOUT_S = 10.0


class _Url(click.ParamType[BaseUrl]):
    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> BaseUrl:
        """Where a server is."""
        try:
            return BaseUrl.parse(value)
        except ValueError as error:
            self.fail(f"{printable(value)}: {error}", param, ctx)


@click.command(short_help="Show what to configure for a new peer.")
@click.argument("url", type=_Url(), metavar="URL")
@click.option("--key-id", metavar="ID", help="The signing key to pin, such as ed25519:1, where it is not the one it names.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Certificate authorities (PEM) to trust beside the system's.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def add(config: Path | None, *, url: BaseUrl, key_id: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Ask the server at URL for its name and keys, and write the [[peers]] block for it on standard output.

    The configuration is not touched. The keys come from the server itself: compare them with its operator first, in another way.
    """
    settings = load(config)
    signer, log = installation.read_signer(settings), installation.read_log_key(settings)
    us = introduce_us(signer, log.verifier_key, settings.server.public_base_url)
    them = _ask(url, key_id, ca_file)
    _check(settings, them)
    more = {"ca_file": str(ca_file.absolute())} if ca_file else {}
    if as_json:
        shown = {role: {**asdict(each), "fingerprints": each.fingerprints} for role, each in (("peer", them), ("us", us))}
        click.echo(printable_json(shown))
        return
    click.echo(_before(them), err=True)
    click.echo(_block(them, more))
    click.echo(_after(them, us), err=True)


def _ask(url: BaseUrl, key_id: str | None, ca_file: Path | None) -> Introduction:
    try:
        with Remote(url, SystemClock(), ca_file=ca_file, timeout_s=TIMEOUT_S) as remote:
            return introduce(remote, str(url), key_id)
    except OSError as error:
        raise click.BadParameter(f"{ca_file} has no certificates in PEM.", param_hint="--ca-file") from error
    except NoPeer as error:
        raise click.ClickException(printable(str(error))) from error
    except RequestFailed as failure:
        raise click.ClickException(
            printable(f"{url} does not answer as a sydent_py server: {failure}. Is it the URL of its own page?")
        ) from failure


def _check(settings: Settings, them: Introduction) -> None:
    """Say so where the block would be of no use."""
    if them.name == settings.server.name:
        raise click.ClickException(f"{them.name} is the name of this server itself.")
    try:
        Peer.model_validate(asdict(them))
    except ValidationError as error:
        reasons = "; ".join(f"{detail['loc'][0]}: {detail['msg']}" for detail in error.errors())
        raise click.ClickException(f"This server cannot be a peer: {printable(reasons)}") from error
    for peer in settings.peers:
        if peer.name == them.name:
            same = (peer.verify_key, peer.log_key) == (them.verify_key, them.log_key)
            told = "with these keys" if same else "with other keys: sydent-py peers check"
            click.echo(f"Note: the configuration names {them.name} already, {told}\n", err=True)


def _before(them: Introduction) -> str:
    return (
        f"This is what the server at {them.base_url} says of itself, and nobody else. Compare its fingerprints with its operator in another way,\n"
        f"such as by telephone. They are the SHA-256 of what stands between the quotes:\n\n{_fingerprints(them)}\n\n"
        "If they are the same, add this to the configuration, and restart:\n"
    )


def _after(them: Introduction, us: Introduction) -> str:
    return (
        f"\nThe operator of {them.name} adds this, or runs 'sydent-py peers add {us.base_url}', and compares our fingerprints:\n\n"
        f"{_block(us, {})}\n\n{_fingerprints(us)}"
    )


def _fingerprints(server: Introduction) -> str:
    return "\n".join(f"  {key:10}  {fingerprint}" for key, fingerprint in server.fingerprints.items())


def _block(server: Introduction, more: dict[str, str]) -> str:
    """The server in TOML, whose strings are written as in JSON."""
    return "\n".join(["[[peers]]", *(f"{key} = {json.dumps(value)}" for key, value in {**asdict(server), **more}.items())])
