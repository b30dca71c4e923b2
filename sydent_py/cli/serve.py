"""``sydent-py serve`` and ``sydent-py migrate``: from nothing to a running server."""

import os
from contextlib import suppress
from pathlib import Path

import click

from sydent_py import services
from sydent_py.app import create_app
from sydent_py.cli.options import takes_config
from sydent_py.sealing import create_key_file as create_sealing_key_file
from sydent_py.serving import Server
from sydent_py.settings import ConfigurationError, Settings, load
from sydent_py.signing import create_key_file as create_signing_key_file


@click.command(short_help="Run the server.")
@takes_config
def serve(config: Path | None) -> None:
    """Run the server; with no configuration at all, on embedded defaults in ./data."""
    settings = load(config)
    set_up(settings)
    # In this process first, because what does not fit together is told here in one line, and by workers in many.
    built = services.build(settings)
    create_app(built)
    built.close()
    Server(settings, when_ready=lambda: click.echo(_welcome(settings, config), err=True)).run()


@click.command(short_help="Prepare the data directory, the keys and the database.")
@takes_config
def migrate(config: Path | None) -> None:
    """Create the data directory, the keys and the database where they are missing, and bring the schema up to date."""
    settings = load(config)
    set_up(settings)
    click.echo("The database is up to date.")


def set_up(settings: Settings) -> None:
    """Make everything a new server needs; what is there is left alone, and what is missing of an old one is not replaced."""
    os.umask(0o077)
    directory = settings.server.data_dir.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _create_missing_keys(settings)
    except OSError as error:
        raise ConfigurationError(f"The data directory {directory} cannot be used: {error.strerror}.") from error
    services.prepare(settings)


def _create_missing_keys(settings: Settings) -> None:
    creators = {settings.signing_key_path: create_signing_key_file, settings.sealing_key_path: create_sealing_key_file}
    missing = {path.absolute(): create for path, create in creators.items() if not path.exists()}
    if missing and services.is_in_use(settings):
        names = " and ".join(map(str, missing))
        raise ConfigurationError(f"{names} is missing, but the database was made with it. Put it back from your backup.")
    for path, create in missing.items():
        # Another server that starts in the same directory may be faster; then its key is ours.
        with suppress(FileExistsError):
            create(path)
            click.echo(f"Created {path}. Keep a copy of it in a safe place.", err=True)


def _welcome(settings: Settings, config: Path | None) -> str:
    server = settings.server
    lines = [
        f"sydent-py serves {server.name} at {server.public_base_url} (listening on {server.bind}).",
        f"Its keys are in {server.data_dir.absolute()}.",
    ]
    if not settings.email.smtp_host:
        lines.append("MAIL IS PRINTED HERE AND NOT SENT: set [email] smtp_host to send it.")
    if config is None and server.name == "localhost":
        lines.append("This is a trial on embedded defaults. Next: copy config/sydent.example.toml, set [server] name and")
        lines.append("public_base_url, and start with: sydent-py --config sydent.toml serve")
    lines.append(f"Try it: curl {server.public_base_url}/_matrix/identity/versions")
    return "\n".join(lines)
