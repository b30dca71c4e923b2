"""``sydent-py log``: the signed log of this server, as its operator sees it, and that of any server, verified."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy.exc import NoResultFound
from unpaddedbase64 import encode_base64

from sydent_py import installation
from sydent_py.cli.database import services_of
from sydent_py.cli.log_verify import verify
from sydent_py.cli.options import takes_config
from sydent_py.cli.terminal import printable
from sydent_py.cli.times import moment
from sydent_py.errors import MatrixError
from sydent_py.identifiers import EMAIL, MSISDN, ThreePid
from sydent_py.log.entries import Entries, Shown
from sydent_py.log.leaf import COMMITMENT_BYTES
from sydent_py.log.published import Status
from sydent_py.services import Services
from sydent_py.settings import Settings, load
from sydent_py.signing import decode_bytes
from sydent_py.tlog.checkpoint import Unsigned, open_checkpoint
from sydent_py.tlog.text import Malformed, format_base64

# The worker takes in what waits every 0.2 seconds.
WORKER_IS_LATE_S = 10.0


@click.group(short_help="The signed log: how far it is, what is in it, whether it is sound.")
def log() -> None:
    """The log of everything this server vouches for: how far it is, what is in it; and whether any server's log is sound."""


log.add_command(verify)


@log.command(short_help="Show how far the log is.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def status(config: Path | None, *, as_json: bool) -> None:
    """Show how far the log of this server is, and whether anything waits for its place in it."""
    with _server(load(config)) as built:
        found, key = built.published_log.status(), built.published_log.verifier_key
        open_checkpoint(found.note.encode(), key)
    notes = _notes(found)
    fields = {
        "origin": found.checkpoint.origin,
        "vkey": str(key),
        "size": found.size,
        "published_size": found.checkpoint.size,
        "published_at_ms": found.published_at_ms,
        "root": format_base64(found.checkpoint.root),
        "pending": found.pending,
        "oldest_pending_s": found.oldest_pending_s,
        "notes": notes,
    }
    click.echo(json.dumps(fields, indent=2) if as_json else _status_in_words(found, str(key), notes))


# A commitment may begin with "-".
@log.command(
    short_help="Show what the log has about an address.",
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
)
@click.argument("wanted", metavar="COMMITMENT-OR-ADDRESS")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def show(config: Path | None, *, wanted: str, as_json: bool) -> None:
    """Show every entry about an email address or a phone number, or the one with a commitment, and what is sealed in it.

    Status 1 if there is none, or if one of them is not what was logged.
    """
    subject, settings = _subject(wanted), load(config)
    with _server(settings) as built:
        entries = Entries(built.database, installation.read_sealer(settings), built.published_log)
        found = entries.of_commitment(subject) if isinstance(subject, bytes) else entries.about(subject)
    if as_json:
        click.echo(json.dumps({"entries": [entry.to_json() for entry in found]}, indent=2))
    else:
        click.echo("\n\n".join(map(_entry_in_words, found)), nl=bool(found))
    if not found:
        raise click.ClickException(_nothing_about(subject, printable(wanted)))
    if not all(entry.is_sound for entry in found):
        raise click.ClickException(
            "THIS IS NOT WHAT WAS LOGGED: the database was changed, or is damaged. Keep a copy of it, and restore it from a backup."
        )


@contextmanager
def _server(settings: Settings) -> Iterator[Services]:
    """What these settings describe; what is wrong with its log is said in plain words."""
    try:
        with services_of(settings) as built:
            yield built
    except (NoResultFound, Malformed) as error:
        raise click.ClickException("The head of the log in the database is damaged: restore it from a backup.") from error
    except Unsigned as error:
        raise click.ClickException(
            f"The checkpoint in the database is not one of this log: {printable(str(error))}. Put the right log.key back, or "
            "restore the database from a backup."
        ) from error


def _notes(found: Status) -> list[str]:
    notes = []
    if found.oldest_pending_s > WORKER_IS_LATE_S:
        notes.append(
            f"The oldest entry has waited for {found.oldest_pending_s:,.0f} s: the background worker seems not to be running. Start "
            "it with 'sydent-py worker', or with 'sydent-py serve' without --no-worker. If it runs, see what it logs."
        )
    if found.size > found.checkpoint.size:
        notes.append(
            f"{found.size - found.checkpoint.size:,} entries are stored and not signed yet. The background worker signs them at once; "
            "if they stay so, it is not running."
        )
    return notes


def _status_in_words(found: Status, key: str, notes: list[str]) -> str:
    waiting = f", the oldest for {found.oldest_pending_s:.1f} s" if found.pending else ""
    lines = [
        f"Log:        {found.checkpoint.origin}",
        f"Key:        {key}",
        f"Entries:    {found.size:,}",
        f"Published:  {found.checkpoint.size:,}, signed {moment(found.published_at_ms)}",
        f"Root hash:  {format_base64(found.checkpoint.root)}",
        f"Waiting:    {found.pending:,}{waiting}",
    ]
    return "\n".join([*lines, *(f"\n{note}" for note in notes)])


def _subject(wanted: str) -> bytes | ThreePid:
    """What is asked for: a commitment, or an address."""
    commitment = decode_bytes(wanted)
    if commitment is not None and len(commitment) == COMMITMENT_BYTES:
        return commitment
    try:
        return ThreePid.parse(EMAIL if "@" in wanted else MSISDN, wanted)
    except MatrixError as error:
        raise click.BadParameter(
            "neither a commitment (the base64 of 32 bytes), nor an email address, nor a phone number with its country code",
            param_hint="COMMITMENT-OR-ADDRESS",
        ) from error


def _nothing_about(subject: bytes | ThreePid, wanted: str) -> str:
    if isinstance(subject, bytes):
        return f"The log of this server has no entry with the commitment {wanted}."
    return (
        f"The log of this server has no entry about {subject.address}. Entries whose payload was erased are found by their "
        "commitment alone."
    )


def _entry_in_words(entry: Shown) -> str:
    place = "Waits for its place" if entry.index is None else f"Entry {entry.index:,}"
    lines = [
        f"{place}: {printable(entry.leaf.kind)}, {moment(entry.leaf.ts)}",
        f"  Commitment:  {encode_base64(entry.leaf.commitment)}",
        f"  In the tree: {_IN_TREE[entry.is_in_tree]}",
        f"  Payload:     {_PAYLOAD[entry.fits]}",
    ]
    return "\n".join([*lines, *([json.dumps(entry.payload, indent=2)] if entry.payload is not None else [])])


_IN_TREE = {
    True: "yes, proved under the published checkpoint",
    None: "not yet: no published checkpoint covers it",
    False: "NO: THE PUBLISHED CHECKPOINT COVERS SOMETHING ELSE AT THIS PLACE",
}
_PAYLOAD = {
    True: "fits the commitment",
    None: "was erased",
    False: "DOES NOT FIT THE COMMITMENT",
}
