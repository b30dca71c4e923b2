"""Verifying the log of any server, and remembering what was verified."""

from collections.abc import Callable
from dataclasses import dataclass

from sydent_py.clock import Clock
from sydent_py.log.audit import Audit, Contradiction, Missing, Verified
from sydent_py.log.remote import RemoteLog
from sydent_py.log.seen import Seen, StateError, StateFile
from sydent_py.tlog.note import VerifierKey
from sydent_py.tlog.text import Malformed


class NoLog(Exception):
    """There is no log to be verified; the message says what is there instead."""


@dataclass(frozen=True)
class Outcome:
    """A log that is what it says it is: with which key, and what it continues, None the first time.

    ``is_key_new`` where the key was taken from the server itself, and nothing else speaks for it.
    """

    verified: Verified
    key: VerifierKey
    is_key_new: bool
    before: Seen | None


@dataclass(frozen=True)
class VerifyLog:
    """Verifies ``log`` against what ``state`` remembers of it, and moves that on."""

    log: RemoteLog
    state: StateFile
    clock: Clock
    progress: Callable[[int, int], None]

    def __call__(self, pinned: VerifierKey | None) -> Outcome:
        """Verify the whole log with the key that is pinned or remembered, or else with the one that the server names.

        Raises ``Contradiction``; ``NoLog``; ``StateError``; and ``Unavailable`` for a server that does not answer as it should.
        """
        state, seen = self.state.read(self.log.url)
        if pinned and seen and pinned != seen.key:
            raise StateError(
                f"The state file {state.path} remembers the key {seen.key}, which is not the one that --key names. "
                "Name another file with --state if this is another log."
            )
        known = pinned or (seen.key if seen else None)
        try:
            key = self._key(known, seen)
            audit = Audit(self.log.fetch, key, self.progress, self.log.expect)
            verified = audit(seen.checkpoint if seen else None)
        except Missing as error:
            raise NoLog(f"There is no log at {self.log.url}: it has no {error}.") from error
        state.write(Seen(self.log.url, key, verified.encoded, self.clock.now_ms()))
        return Outcome(verified, key, is_key_new=known is None, before=seen)

    def _key(self, known: VerifierKey | None, seen: Seen | None) -> VerifierKey:
        """The key, which has to be the one the server names; a log that names none needs one that is known."""
        try:
            text = self.log.fetch("vkey")
        except Missing as error:
            if known is None:
                raise NoLog(f"There is no log at {self.log.url} that names its key. Name it with --key.") from error
            return known
        try:
            named = VerifierKey.parse(text.decode().removesuffix("\n"))
        except (Malformed, UnicodeDecodeError) as error:
            raise NoLog(f"What {self.log.url}/vkey has is not the key of a log: {error}.") from error
        if known and named != known:
            raise Contradiction(
                f"The log names another key: {named}. The one that is {'remembered' if seen else 'pinned'} is {known}.",
                *([seen.checkpoint] if seen else []),
                self.log.fetch("checkpoint"),
            )
        return known or named
