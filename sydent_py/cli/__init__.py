"""The command ``sydent-py``."""

import sys
from pathlib import Path

import click

from sydent_py import __version__
from sydent_py.cli.keys import generate_key
from sydent_py.cli.log import log
from sydent_py.cli.logs import configure_logs
from sydent_py.cli.options import config_option
from sydent_py.cli.peers import peers
from sydent_py.cli.published_keys import keys
from sydent_py.cli.serve import migrate, serve
from sydent_py.cli.sms import sms
from sydent_py.cli.worker import work
from sydent_py.settings import ConfigurationError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sydent-py")
@config_option
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """A federated Matrix identity server."""
    configure_logs()
    context.obj = config


cli.add_command(serve)
cli.add_command(work)
cli.add_command(migrate)
cli.add_command(generate_key)
cli.add_command(sms)
cli.add_command(log)
cli.add_command(peers)
cli.add_command(keys)


def main() -> None:
    """Run the command; a configuration that cannot be used is said in plain words, with status 1."""
    try:
        cli()
    except ConfigurationError as error:
        click.echo(f"sydent-py: {error}", err=True)
        sys.exit(1)
