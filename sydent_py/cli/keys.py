"""``sydent-py generate-key``: a signing key for associations."""

from pathlib import Path

import click

from sydent_py.signing import FIRST_KEY_VERSION, create_key_file, new_key_line


@click.command("generate-key", short_help="Make a new signing key.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE, for its owner's eyes alone.")
@click.option(
    "--version",
    default=FIRST_KEY_VERSION,
    show_default=True,
    metavar="NAME",
    help="The name after 'ed25519:'. Each key of a server needs its own.",
)
def generate_key(output: Path | None, version: str) -> None:
    """Make a new signing key, and print it or write it to a file.

    The server signs with the first line of signing.key in its data directory; keys in later lines stay valid. To rotate,
    put a key of a new version above the old one.
    """
    if not version.isascii() or not version.replace("_", "").isalnum():
        raise click.BadParameter("a version has ASCII letters, digits and '_' alone", param_hint="--version")
    if output is None:
        click.echo(new_key_line(version), nl=False)
        return
    try:
        create_key_file(output, version)
    except FileExistsError as error:
        raise click.ClickException(f"{output} exists already, and a key is never overwritten.") from error
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}.") from error
    click.echo(f"Wrote the key ed25519:{version} to {output}. Keep a copy: bindings are verified with it for years.")
