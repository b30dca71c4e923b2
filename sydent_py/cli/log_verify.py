"""``sydent-py log verify``: whether a log is what it says it is, from nothing but what everybody may read."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from sydent_py.cli.failures import failure_in_words
from sydent_py.cli.log_against import Compared, CosignatureKey, LogKey, Others, ServerUrl
from sydent_py.cli.terminal import printable, printable_lines, progress
from sydent_py.cli.times import moment
from sydent_py.clock import SystemClock
from sydent_py.federation.remote import BaseUrl, Remote
from sydent_py.log.against import SplitView
from sydent_py.log.audit import Contradiction
from sydent_py.log.remote import RemoteLog, Unavailable, log_at
from sydent_py.log.seen import StateError, StateFile, default_path
from sydent_py.log.verify import NoLog, Outcome, VerifyLog
from sydent_py.tlog.note import VerifierKey
from sydent_py.tlog.text import format_base64


class _Url(click.ParamType[BaseUrl]):
    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> BaseUrl:
        """The URL of a log."""
        try:
            return log_at(BaseUrl.parse(value))
        except ValueError as error:
            self.fail(f"{printable(value)!r}: {error}", param, ctx)


@click.command(short_help="Verify the log of any server.")
@click.argument("url", type=_Url(), metavar="URL")
@click.option("--key", type=LogKey(), metavar="VKEY", help="The log's key, if it came to you in another way.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Remember here what was verified, and not in the home directory.",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Certificate authorities (PEM) to trust beside the system's.",
)
@click.option(
    "--against",
    type=ServerUrl(),
    multiple=True,
    metavar="URL",
    help="Compare with what this server, which follows the log, has seen of it; may be given several times.",
)
@click.option(
    "--witness-key",
    "witness_keys",
    type=CosignatureKey(),
    multiple=True,
    metavar="VKEY",
    help="The key of the log of such a server, to check its cosignature with; may be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object on standard output.")
def verify(
    url: BaseUrl,
    *,
    key: VerifierKey | None,
    state: Path | None,
    ca_file: Path | None,
    against: tuple[BaseUrl, ...],
    witness_keys: tuple[VerifierKey, ...],
    as_json: bool,
) -> None:
    """Read the whole log of the server at URL, and verify that it is what its checkpoint signs and continues what was seen before.

    URL is a server's (https://id.example.org), or that of a log (it ends in /log). The log's key and newest checkpoint are
    remembered: the next verification shows that nothing was rewritten in between. Status 1 if anything is wrong, or if a server
    that --against names could not be compared with.
    """
    clock, state_file = SystemClock(), StateFile(state or default_path(str(url)))
    try:
        remote = Remote(url, clock, ca_file=ca_file)
    except OSError as error:
        raise click.BadParameter(f"{ca_file} has no certificates in PEM.", param_hint="--ca-file") from error
    report = _Report(url, state_file, as_json)
    try:
        with RemoteLog(remote) as log, progress("Entries verified", clock) as show:
            outcome = VerifyLog(log, state_file, clock, show)(key)
            compared = Others(against, witness_keys, ca_file, clock).compare(outcome.verified, outcome.key, log)
    except Contradiction as error:
        report.contradiction(error)
    except Unavailable as error:
        report.failure(
            "unavailable", failure_in_words(error.failure, f"{url}/{error.name}", remote.timeout_s, "a file of a log")
        )
    except (NoLog, StateError) as error:
        report.failure("no_log" if isinstance(error, NoLog) else "state_file", str(error))
    report.success(outcome, compared)


@dataclass(frozen=True)
class _Report:
    """Says what came out, for people or for scripts."""

    url: BaseUrl
    state: StateFile
    as_json: bool

    def success(self, outcome: Outcome, compared: list[Compared]) -> None:
        """Say what was verified; status 1 where a server could not be compared with."""
        verified, before = outcome.verified, outcome.before
        if self.as_json:
            self._print_json(
                verified=True,
                origin=verified.checkpoint.origin,
                vkey=str(outcome.key),
                is_key_new=outcome.is_key_new,
                size=verified.checkpoint.size,
                root=format_base64(verified.checkpoint.root),
                entries=dict(verified.kinds),
                checkpoint=verified.encoded.decode(),
                continues={"checkpoint": before.checkpoint.decode(), "verified_at_ms": before.verified_at_ms}
                if before
                else None,
                state_file=str(self.state.path),
                **({"against": [each.to_json() for each in compared]} if compared else {}),
            )
        else:
            click.echo(_success_in_words(outcome, self.state.path))
            for each in compared:
                click.echo(each.in_words(verified), err=each.view is None)
        if any(each.view is None for each in compared):
            sys.exit(1)

    def contradiction(self, found: Contradiction) -> NoReturn:
        """Show the evidence, in full and in files."""
        try:
            paths: list[Path] = self.state.keep(found.evidence)
            problem = ""
        except StateError as error:
            paths, problem = [], f" {error}"
        texts = [evidence.decode(errors="backslashreplace") for evidence in found.evidence]
        if self.as_json:
            files = [str(path) for path in paths]
            kind = "split_view" if isinstance(found, SplitView) else "contradiction"
            self.failure(kind, f"{found}{problem}", checkpoints=texts, evidence_files=files)
        lines = [f"Error: {printable(str(found) + problem)}", ""]
        for number, text in enumerate(texts):
            lines += [f"Checkpoint {number + 1} of {len(texts)}:", "", printable_lines(text)]
        lines += ["The same in files:", *(f"  {printable(str(path))}" for path in paths), ""] if paths else []
        lines.append(_SPLIT_ADVICE if isinstance(found, SplitView) else _ADVICE if texts else _NO_EVIDENCE)
        click.echo("\n".join(lines), err=True)
        sys.exit(1)

    def failure(self, kind: str, message: str, **more: Any) -> NoReturn:
        """Say what went wrong, and end with status 1."""
        if self.as_json:
            self._print_json(verified=False, error=kind, message=message, **more)
        else:
            click.echo(f"Error: {printable(message)}", err=True)
        sys.exit(1)

    def _print_json(self, **fields: Any) -> None:
        text = json.dumps({"log": str(self.url), **fields}, indent=2)
        click.echo(text.replace("\x7f", "\\u007f"))  # the one control character that JSON leaves as it is


_ADVICE = (
    "Show this to the operator of the log, and to the operators of servers that follow it. What was verified before is still "
    "remembered: every further verification will say this again, until the log continues it."
)
_SPLIT_ADVICE = (
    "The first is what was verified here, the second what the other server has seen; the log has signed both. Show this to the operators "
    "of both servers, and of all that follow the log."
)
_NO_EVIDENCE = "Is this the URL of a sydent_py server? What was verified before is still remembered."


def _success_in_words(outcome: Outcome, state: Path) -> str:
    checkpoint, before = outcome.verified.checkpoint, outcome.before
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(outcome.verified.kinds.items()))
    lines = [
        f"The log {printable(checkpoint.origin)} is what its checkpoint says, every entry of it.",
        f"  Entries:    {checkpoint.size:,}{f' ({kinds})' if kinds else ''}",
        f"  Root hash:  {format_base64(checkpoint.root)}",
        f"  Key:        {printable(str(outcome.key))}",
    ]
    if before:
        when = moment(before.verified_at_ms)
        lines.append(f"  Continues:  the checkpoint of {before.opened().size:,} entries that was verified {when}")
    else:
        lines.append("  Continues:  nothing, as this is its first verification")
    lines.append(f"  Remembered: {printable(str(state))}")
    if outcome.is_key_new:
        lines += [
            "",
            "The key was taken from the server itself and is trusted from now on. Compare it with one that the operator gave you in",
            "another way; --key pins it.",
        ]
    return "\n".join(lines)
