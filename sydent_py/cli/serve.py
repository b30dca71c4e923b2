"""``sydent-py serve`` and ``sydent-py migrate``: from nothing to a running server."""

from pathlib import Path

import click

from sydent_py import installation, wiring
from sydent_py.app import create_app
from sydent_py.cli.options import takes_config
from sydent_py.serving import Server
from sydent_py.settings import Settings, load


@click.command(short_help="Run the server.")
@click.option("--no-worker", is_flag=True, help="Answer requests alone, and leave the background work to: sydent-py worker.")
@takes_config
def serve(config: Path | None, *, no_worker: bool) -> None:
    """Run the server; with no configuration at all, on embedded defaults in ./data."""
    settings = load(config)
    set_up(settings)
    # In this process first, because what does not fit together is told here in one line, and by workers in many.
    built = wiring.build(settings)
    create_app(built)
    built.close()
    welcome = _welcome(settings, config, with_worker=not no_worker)
    Server(settings, when_ready=lambda: click.echo(welcome, err=True), with_worker=not no_worker).run()


@click.command(short_help="Prepare the data directory, the keys and the database.")
@takes_config
def migrate(config: Path | None) -> None:
    """Create the data directory, the keys and the database where they are missing, and bring the schema up to date."""
    settings = load(config)
    set_up(settings)
    click.echo("The database is up to date.")


def set_up(settings: Settings) -> None:
    """Make everything a new server needs, and name the keys it was given."""
    for path in installation.set_up(settings):
        click.echo(f"Created {path}. Keep a copy of it in a safe place.", err=True)


def _welcome(settings: Settings, config: Path | None, *, with_worker: bool) -> str:
    server = settings.server
    lines = [
        f"sydent-py serves {server.name} at {server.public_base_url} (listening on {server.bind}).",
        f"Its keys are in {server.data_dir.absolute()}.",
    ]
    if not settings.email.smtp_host:
        lines.append("MAIL IS PRINTED HERE AND NOT SENT: set [email] smtp_host to send it.")
    if settings.sms.provider == "log" and settings.sms.allowed_countries:
        lines.append("TEXT MESSAGES ARE PRINTED HERE AND NOT SENT: set [sms] provider to send them.")
    if settings.sydent_replication.bind and with_worker:
        lines.append(f"Sydent peers push to {settings.sydent_replication.bind} (mutual TLS).")
    if config is None and server.name == "localhost":
        lines.append("This is a trial on embedded defaults. Next: copy config/sydent.example.toml, set [server] name and")
        lines.append("public_base_url, and start with: sydent-py --config sydent.toml serve")
    lines.append(f"Try it: curl {server.public_base_url}/_matrix/identity/versions")
    return "\n".join(lines)
