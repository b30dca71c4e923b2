"""``sydent-py log verify --against``: what other servers have seen of the log, in words and for scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sydent_py.cli.terminal import printable
from sydent_py.cli.times import moment
from sydent_py.clock import Clock
from sydent_py.federation.remote import BaseUrl, Remote
from sydent_py.log.against import Compare, NotCompared, View, view_of
from sydent_py.log.audit import Verified
from sydent_py.log.remote import RemoteLog
from sydent_py.replication.peers import witness_name
from sydent_py.tlog.note import COSIGNATURE, VerifierKey
from sydent_py.tlog.text import Malformed

LOG_SUFFIX = "/log"


class ServerUrl(click.ParamType[BaseUrl]):
    """The URL of a server."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> BaseUrl:
        """The URL in ``value``."""
        try:
            return BaseUrl.parse(value)
        except ValueError as error:
            self.fail(f"{printable(value)!r}: {error}", param, ctx)


class LogKey(click.ParamType[VerifierKey]):
    """The key of a log."""

    name = "VKEY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> VerifierKey:
        """The key in ``value``."""
        try:
            return VerifierKey.parse(value)
        except Malformed as error:
            self.fail(f"not the key of a log, such as id.example.org/log+530d903a+AekyeRrm...: {error}", param, ctx)


class CosignatureKey(LogKey):
    """The key of a witness, or that of a server's log, from which it follows."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> VerifierKey:
        """What the server cosigns with."""
        key = super().convert(value, param, ctx)
        if key.algorithm == COSIGNATURE:
            return key
        if not key.name.endswith(LOG_SUFFIX):
            self.fail("this is neither the key of a server's log nor one that cosigns", param, ctx)
        return VerifierKey(witness_name(key.name.removesuffix(LOG_SUFFIX)), COSIGNATURE, key.public_key)


@dataclass(frozen=True)
class Compared:
    """What came of comparing with the server at ``url``: its view, or else the reason why there was nothing to compare."""

    url: BaseUrl
    view: View | None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        if self.view is None:
            return {"url": str(self.url), "agrees": None, "message": self.reason}
        view = self.view
        cosigned = {"witness": view.witness, "cosigned_at_s": view.cosigned_at_s, "is_cosignature_checked": view.is_checked}
        return {"url": str(self.url), "agrees": True, "size": view.checkpoint.size, **cosigned}

    def in_words(self, verified: Verified) -> str:
        """For people."""
        if self.view is None:
            return f"{printable(str(self.url))} was not compared: {printable(self.reason)}."
        view, size = self.view, verified.checkpoint.size
        if view.checkpoint.size == size:
            what = "the same tree of"
        else:
            what = "the same tree when it had" if view.checkpoint.size < size else "the same tree grown to"
        when = f" at {moment(view.cosigned_at_s * 1000)}" if view.cosigned_at_s is not None else ""
        return f"{printable(view.server)} saw {what} {_entries(view.checkpoint.size)}{when}; {_trust(view)}."


@dataclass(frozen=True)
class Others:
    """The servers to compare with, and the keys of theirs that are known."""

    urls: Sequence[BaseUrl]
    keys: Sequence[VerifierKey]
    ca_file: Path | None
    clock: Clock

    def compare(self, verified: Verified, key: VerifierKey, log: RemoteLog) -> list[Compared]:
        """What came of each; ``SplitView`` where the log has shown one of them another tree."""
        compare = Compare(verified, log.fetch)
        return [self._compare(url, key, compare) for url in self.urls]

    def _compare(self, url: BaseUrl, key: VerifierKey, compare: Compare) -> Compared:
        with Remote(url, self.clock, ca_file=self.ca_file) as remote:
            try:
                view = view_of(remote, key, self.keys)
            except NotCompared as error:
                return Compared(url, None, str(error))
        compare(view)
        return Compared(url, view)


def _entries(size: int) -> str:
    return "1 entry" if size == 1 else f"{size:,} entries"


def _trust(view: View) -> str:
    if view.witness is None:
        return "it has not cosigned it"
    if view.is_checked:
        return f"the cosignature of {printable(view.witness)} is valid"
    return f"the cosignature of {printable(view.witness)} was not checked, as no --witness-key names its key"
