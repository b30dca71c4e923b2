"""``sydent-py keys``: which keys a user has published at any server, verified with what everybody may read."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import update_wrapper
from pathlib import Path
from typing import IO, Any

import click

from sydent_py.cli.keys_asked import Ask, KeyServer, NotAsked, Outcome, Pinned, compare_with
from sydent_py.cli.keys_shown import Findings
from sydent_py.cli.log_against import LOG_SUFFIX, CosignatureKey, LogKey, ServerUrl
from sydent_py.cli.terminal import printable, printable_json
from sydent_py.clock import SystemClock
from sydent_py.errors import MatrixError
from sydent_py.federation.remote import BaseUrl, Remote
from sydent_py.identifiers import UserId
from sydent_py.keys.compare import Match, compare_with_homeserver
from sydent_py.keys.entry import server_key
from sydent_py.strict_json import parse_object
from sydent_py.tlog.note import VerifierKey


class _User(click.ParamType[str]):
    name = "USER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """A Matrix user ID."""
        try:
            return UserId.parse(value).text
        except MatrixError:
            self.fail(f"{printable(value)!r} is not a Matrix user ID, such as @alice:example.org", param, ctx)


class _LogKey(LogKey):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> VerifierKey:
        """The key of a server's log."""
        key = super().convert(value, param, ctx)
        if not key.name.endswith(LOG_SUFFIX):
            self.fail(
                f"the log of a server is named as the server, and {LOG_SUFFIX}: id.example.org{LOG_SUFFIX}", param, ctx
            )
        return key


class _VerifyKey(click.ParamType[tuple[str, str, bytes]]):
    name = "KEY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str, bytes]:
        """The server it is of, "" for the one that is asked; its name; the key."""
        origin, line = ("", value) if value.startswith("ed25519:") else value.split(" ", 1) if " " in value else ("", value)
        try:
            return origin, *server_key(line)
        except ValueError as error:
            self.fail(printable(str(error)), param, ctx)


_OPTIONS = (
    click.argument("user_id", type=_User(), metavar="USER"),
    click.option("--server", type=ServerUrl(), metavar="URL", required=True, help="The server to ask."),
    click.option(
        "--log-key",
        "log_keys",
        type=_LogKey(),
        multiple=True,
        metavar="VKEY",
        help="The key of a server's log, as it came to you in another way; may be given for several servers.",
    ),
    click.option(
        "--verify-key",
        "verify_keys",
        type=_VerifyKey(),
        multiple=True,
        metavar="KEY",
        help="A key that the server signs with: 'ed25519:0 BASE64', or with the server's name before it; may be given several times.",
    ),
    click.option(
        "--witness",
        "witnesses",
        type=CosignatureKey(),
        multiple=True,
        metavar="VKEY",
        help="The key of the log of a server that has to have cosigned; may be given several times.",
    ),
    click.option(
        "--required", type=click.IntRange(0), metavar="N", help="So many witnesses are enough, and not all are needed."
    ),
    click.option(
        "--max-age",
        type=click.IntRange(1),
        metavar="SECONDS",
        help="How long ago witnesses may have cosigned the keys that count.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Certificate authorities (PEM) to trust beside the system's.",
    ),
    click.option("--json", "as_json", is_flag=True, help="For scripts: one object on standard output."),
)


def _asks(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` what all of them take, as an ``_Inquiry``."""

    def run(
        user_id: str,
        server: BaseUrl,
        ca_file: Path | None,
        *,
        as_json: bool,
        required: int | None,
        max_age: int | None,
        **rest: Any,
    ) -> None:
        log_keys, verify_keys, witnesses = rest.pop("log_keys"), rest.pop("verify_keys"), rest.pop("witnesses")
        by_origin: dict[str, dict[str, bytes]] = {}
        for origin, key_id, key in verify_keys:
            by_origin.setdefault(origin, {})[key_id] = key
        pinned = Pinned(
            log_keys={key.name.removesuffix(LOG_SUFFIX): key for key in log_keys},
            verify_keys=by_origin,
            witnesses=witnesses,
            required=len(witnesses) if required is None else required,
            max_age_ms=None if max_age is None else max_age * 1000,
        )
        with ExitStack() as stack:
            command(_Inquiry(user_id, server, pinned, ca_file, stack, as_json=as_json), **rest)

    wrapped: Callable[..., None] = update_wrapper(run, command)
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


class _Inquiry:
    """One question, and how its answer is said."""

    def __init__(
        self, user_id: str, url: BaseUrl, pinned: Pinned, ca_file: Path | None, stack: ExitStack, *, as_json: bool
    ) -> None:
        self.user_id = user_id
        self.clock = SystemClock()
        self._url = url
        self._pinned = pinned
        self._ca_file = ca_file
        self._stack = stack
        self._as_json = as_json

    def ask(self, *, with_history: bool) -> tuple[list[Outcome], dict[str, str | None]]:
        """What came of each origin, and the origins that were not verified."""
        try:
            return Ask(self.server(self._url), self.user_id, self._pinned, self.clock)(with_history=with_history)
        except NotAsked as failure:
            if self._as_json:
                said = {"user_id": self.user_id, "server": str(self._url), "verified": False}
                click.echo(printable_json({**said, "error": failure.kind, "message": str(failure)}))
            else:
                click.echo(f"Error: {printable(str(failure))}", err=True)
            sys.exit(1)

    def server(self, url: BaseUrl) -> KeyServer:
        """A server, to be asked."""
        try:
            remote = Remote(url, self.clock, ca_file=self._ca_file)
        except OSError as error:
            raise click.BadParameter(f"{self._ca_file} has no certificates in PEM.", param_hint="--ca-file") from error
        return KeyServer(self._stack.enter_context(remote))

    def tell(self, outcomes: list[Outcome], others: dict[str, str | None], **more: Any) -> None:
        """Say what came out; status 1 where anything is wrong."""
        findings = Findings(self.user_id, str(self._url), outcomes, others, **more)
        if self._as_json:
            click.echo(printable_json(findings.to_json()))
        else:
            good, bad = findings.in_words(), findings.problems()
            click.echo(good, nl=bool(good))
            click.echo(f"\n{bad}" if good and bad else bad, nl=bool(bad), err=True)
        if not findings.is_fine:
            sys.exit(1)


@click.group(short_help="The keys that users publish: which count, and whether that is proved.")
def keys() -> None:
    """The keys that users publish: which count, and whether that is proved.

    Nothing is believed of the server but what its log proves. Without --log-key and --verify-key its own keys are taken from itself,
    which is said. Status 1 if anything is wrong.
    """


@keys.command(short_help="Show which keys count for a user.")
@_asks
def show(inquiry: _Inquiry) -> None:
    """Show which keys of USER count at a server, and since when."""
    inquiry.tell(*inquiry.ask(with_history=False))


@keys.command(short_help="Verify a user's keys from the first statement on, and compare servers.")
@_asks
@click.option(
    "--against",
    type=ServerUrl(),
    multiple=True,
    metavar="URL",
    help="Compare with what this server, which follows the log, has of it; may be given several times.",
)
@click.option(
    "--keys-query",
    type=click.File("rb"),
    metavar="FILE",
    help="Compare with what the user's homeserver answers to /keys/query: '-' is standard input.",
)
def verify(inquiry: _Inquiry, *, against: tuple[BaseUrl, ...], keys_query: IO[bytes] | None) -> None:
    """Verify the keys of USER from the first statement on: every one is in the log, and may follow the one before."""
    served = _read(keys_query) if keys_query is not None else None
    outcomes, others = inquiry.ask(with_history=True)
    compared = [
        compare_with(inquiry.server(url), inquiry.user_id, outcome, inquiry.clock.now_ms())
        for url in against
        for outcome in outcomes
        if outcome.history is not None
    ]
    matches = (
        [compare_with_homeserver(each.current, served, inquiry.user_id) for each in outcomes] if served is not None else []
    )
    match = next((each for each in matches if each is not Match.MATCH), Match.MATCH) if matches else None
    inquiry.tell(outcomes, others, compared=compared, match=match)


@keys.command(short_help="List all that a user has stated.")
@_asks
def history(inquiry: _Inquiry) -> None:
    """List all that USER has stated, oldest first, and verify it."""
    inquiry.tell(*inquiry.ask(with_history=True), with_statements=True)


def _read(keys_query: IO[bytes]) -> dict[str, Any]:
    try:
        return parse_object(keys_query.read())
    except MatrixError as error:
        raise click.BadParameter("this is not what a homeserver answers.", param_hint="--keys-query") from error
