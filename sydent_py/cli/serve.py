"""``sydent-py serve`` and ``sydent-py migrate``: from nothing to a running server."""

from contextlib import suppress
from pathlib import Path

import click

from sydent_py import services
from sydent_py.app import create_app
from sydent_py.sealing import create_key_file as create_sealing_key_file
from sydent_py.serving import Server
from sydent_py.settings import ConfigurationError, Settings, load
from sydent_py.signing import create_key_file as create_signing_key_file


@click.command()
@click.pass_obj
def serve(config: Path | None) -> None:
    """Run the server; with no configuration at all, on embedded defaults in ./data."""
    settings = load(config)
    set_up(settings)
    # In this process first, because what does not fit together is told here in one line, and by workers in many.
    built = services.build(settings)
    create_app(built)
    built.close()
    Server(settings, when_ready=lambda: click.echo(_welcome(settings, config), err=True)).run()


@click.command()
@click.pass_obj
def migrate(config: Path | None) -> None:
    """Create the data directory, the keys and the database where they are missing, and bring the schema up to date."""
    settings = load(config)
    set_up(settings)
    click.echo("The database is up to date.")


def set_up(settings: Settings) -> None:
    """Make everything the server needs and does not find; what is there is left alone."""
    directory = settings.server.data_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, create in (
            (settings.signing_key_path, create_signing_key_file),
            (settings.sealing_key_path, create_sealing_key_file),
        ):
            if path.exists():
                continue
            # Another server that starts in the same directory may be faster; then its key is ours.
            with suppress(FileExistsError):
                create(path)
                click.echo(f"Created {path}. Keep a copy of it in a safe place.", err=True)
    except OSError as error:
        raise ConfigurationError(f"The data directory {directory} cannot be used: {error}") from error
    services.prepare(settings)


def _welcome(settings: Settings, config: Path | None) -> str:
    server = settings.server
    lines = [f"sydent-py serves {server.name} at {server.public_base_url} (listening on {server.bind})."]
    if not settings.email.smtp_host:
        lines.append("MAIL IS PRINTED HERE AND NOT SENT: set [email] smtp_host to send it.")
    if config is None and server.name == "localhost":
        lines.append("This is a trial on embedded defaults. Next: copy config/sydent.example.toml, set [server] name and")
        lines.append("public_base_url, and start with: sydent-py --config sydent.toml serve")
    lines.append(f"Try it: curl {server.public_base_url}/_matrix/identity/versions")
    return "\n".join(lines)
