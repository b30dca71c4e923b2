"""What servers show of a user's keys, fetched and verified for ``sydent-py keys``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import click

from sydent_py.cli.failures import failure_in_words
from sydent_py.clock import Clock
from sydent_py.errors import MatrixError
from sydent_py.federation.remote import NotThere, Remote
from sydent_py.federation.transport import Reason as Failure
from sydent_py.federation.transport import RequestFailed
from sydent_py.keys.canonical import encode_base64
from sydent_py.keys.compare import Comparison, compare
from sydent_py.keys.entry import LOG_SUFFIX
from sydent_py.keys.statement import Malformed, Statement
from sydent_py.keys.verify import Current, History, NotVerified, Pins, Reason, verify, verify_history
from sydent_py.replication import introduction
from sydent_py.strict_json import parse_object
from sydent_py.tlog.note import VerifierKey

OWN = "_matrix/identity/unstable/sydent_py"
PATH = f"{OWN}/keys"
MAX_ANSWER_BYTES = 1024 * 1024
MAX_HISTORY_BYTES = 64 * 1024 * 1024
MAX_KEY_IDS = 8
# What was stated just now is proved in a moment, and an answer and a history may be of two moments.
ATTEMPTS = 3
PAUSE_S = 1.0
_OF_A_MOMENT = {Reason.NOT_PROVED_YET, Reason.BROKEN_CHAIN}


class NotAsked(Exception):
    """The server says nothing that could be verified: why, in one word and in a sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class KeyServer:
    """A server that shows users' keys. Everything raises ``NotAsked``."""

    remote: Remote

    def answer(self, user_id: str) -> dict[str, Any]:
        """Which keys count, as the server has it."""
        return self._of_user(user_id, "", MAX_ANSWER_BYTES)

    def history(self, user_id: str) -> dict[str, Any]:
        """All that the user has stated, as the server has it."""
        return self._of_user(user_id, "/history", MAX_HISTORY_BYTES)

    def log_key(self) -> VerifierKey:
        """The key of its own log, as it says."""
        try:
            return introduction.log_key(self.remote)
        except RequestFailed as failure:
            raise self._failed(failure, f"{self.remote.url}/{OWN}/log/vkey") from failure

    def verify_keys(self, key_ids: Iterable[str]) -> dict[str, bytes]:
        """Those of its signing keys that it has under these names."""
        found = {}
        for key_id in key_ids:
            try:
                found[key_id] = bytes(introduction.verify_key(self.remote, key_id))
            except NotThere:
                continue
            except RequestFailed as failure:
                if failure.reason is not Failure.MALFORMED:
                    raise self._failed(failure, f"{self.remote.url}/_matrix/identity/v2/pubkey/{key_id}") from failure
        return found

    def _of_user(self, user_id: str, what: str, max_bytes: int) -> dict[str, Any]:
        path = f"{PATH}/{quote(user_id, safe='')}{what}"
        try:
            return parse_object(self.remote.get(path, max_bytes))
        except NotThere as failure:
            if b"M_NOT_FOUND" in failure.body:
                raise NotAsked("unpublished", f"{self.remote.url} knows of no published keys of {user_id}.") from failure
            raise NotAsked(
                "no_server", f"{self.remote.url} does not publish keys: is this the URL of a sydent_py server?"
            ) from failure
        except RequestFailed as failure:
            raise self._failed(failure, f"{self.remote.url}/{path}") from failure
        except MatrixError as error:
            raise NotAsked("no_server", f"What {self.remote.url}/{path} answers is not JSON as it must be.") from error

    def _failed(self, failure: RequestFailed, url: str) -> NotAsked:
        return NotAsked("unavailable", failure_in_words(failure, url, self.remote.timeout_s, "keys of one user"))


@dataclass(frozen=True)
class Pinned:
    """What the command line says of origins: keys of logs, by origin; signing keys, by origin, "" for the server that is asked."""

    log_keys: Mapping[str, VerifierKey]
    verify_keys: Mapping[str, Mapping[str, bytes]]
    witnesses: Sequence[VerifierKey]
    required: int
    max_age_ms: int | None


@dataclass(frozen=True)
class Outcome:
    """What came of one origin: ``current``, or ``failure``; ``entries`` are the history as it was sent.

    ``unpinned`` are the keys that were taken from the server itself, as options that would pin them.
    """

    pins: Pins
    unpinned: tuple[str, ...]
    current: Current | None = None
    history: History | None = None
    entries: Sequence[Any] = ()
    failure: NotVerified | None = None

    @property
    def origin(self) -> str:
        """The name of the server whose log it is."""
        return self.pins.origin


@dataclass(frozen=True)
class Compared:
    """What came of comparing an origin's chain with what another server shows of it; or why there was nothing to compare."""

    url: str
    origin: str
    comparison: Comparison | None = None
    evidence: Sequence[Any] = ()
    reason: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether the server that was asked first shows at least as much as this one, and nothing else."""
        return self.comparison is not None and self.comparison.is_agreement and self.comparison.verdict != "here_is_behind"


@dataclass(frozen=True)
class Ask:
    """Asks ``server`` for the keys of a user, and verifies what it says of the origins that are pinned, or else of its own."""

    server: KeyServer
    user_id: str
    pinned: Pinned
    clock: Clock

    def __call__(self, *, with_history: bool) -> tuple[list[Outcome], dict[str, str | None]]:
        """What came of each origin; and the other origins that it shows, with the master keys that are said to be theirs."""
        logs = dict(self.pinned.log_keys)
        if not logs:
            key = self.server.log_key()
            logs = {key.name.removesuffix(LOG_SUFFIX): key}
        for left in range(ATTEMPTS)[::-1]:
            answer = self.server.answer(self.user_id)
            history = self.server.history(self.user_id) if with_history else None
            outcomes = [self._outcome(log, answer, history) for log in logs.values()]
            if not left or not any(each.failure and each.failure.reason in _OF_A_MOMENT for each in outcomes):
                break
            self.clock.sleep_s(PAUSE_S)
        origins = answer.get("origins")
        others = origins if isinstance(origins, dict) else {}
        return outcomes, {origin: _claimed_master(part) for origin, part in others.items() if origin not in logs}

    def _outcome(self, log: VerifierKey, answer: Any, history: Any) -> Outcome:
        pins, unpinned = self._pins(log, answer)
        now_ms, outcome = self.clock.now_ms(), Outcome(pins, unpinned)
        try:
            current = verify(answer, self.user_id, pins, now_ms)
            if history is None:
                return replace(outcome, current=current)
            verified = verify_history(history, self.user_id, pins, now_ms)
            verified.check_shows(current)
        except NotVerified as failure:
            return replace(outcome, failure=failure)
        return replace(outcome, current=current, history=verified, entries=history["origins"][pins.origin]["entries"])

    def _pins(self, log: VerifierKey, answer: Any) -> tuple[Pins, tuple[str, ...]]:
        origin, pinned = log.name.removesuffix(LOG_SUFFIX), self.pinned
        keys = pinned.verify_keys.get(origin) or (pinned.verify_keys.get("") if len(pinned.log_keys) <= 1 else None)
        unpinned = [] if pinned.log_keys else [f"--log-key '{log}'"]
        if not keys:
            if self.server.log_key().name != log.name:
                raise click.UsageError(
                    f"{self.server.remote.url} is not {origin}: name that server's keys, with --verify-key '{origin} ed25519:0 ...'."
                )
            keys = self.server.verify_keys(_claimed_key_ids(answer, origin))
            unpinned += [f"--verify-key '{key_id} {encode_base64(key)}'" for key_id, key in keys.items()]
        return (
            Pins(origin, keys, log, pinned.witnesses, pinned.required, pinned.max_age_ms),
            tuple(unpinned),
        )


def compare_with(server: KeyServer, user_id: str, outcome: Outcome, now_ms: int) -> Compared:
    """What another server shows of the chain that was verified. Its copy need not be cosigned: the log itself has signed it."""
    url, history = str(server.remote.url), outcome.history
    assert history is not None
    try:
        told = server.history(user_id)
        theirs = verify_history(told, user_id, replace(outcome.pins, required=0), now_ms)
    except NotAsked as failure:
        return Compared(url, outcome.origin, reason=str(failure))
    except NotVerified as failure:
        return Compared(url, outcome.origin, reason=f"What it shows of {outcome.origin} does not count: {failure}.")
    found, entries = compare(history.entries, theirs.entries), told["origins"][outcome.origin]["entries"]
    if not found.evidence:
        return Compared(url, outcome.origin, found)
    here, there = found.evidence
    evidence = [outcome.entries[here.statement.seq - 1], entries[there.statement.seq - 1]]
    return Compared(url, outcome.origin, found, evidence)


def _claimed_key_ids(answer: Any, origin: str) -> list[str]:
    """Under which names an origin says that it has signed, of at most so many."""
    try:
        part = answer["origins"][origin]
        entries = [part["current"], *([part["pending"]] if "pending" in part else [])]
        key_ids = dict.fromkeys(key_id for entry in entries for key_id in entry["payload"]["signatures"][origin])
    except (KeyError, TypeError, IndexError):
        return []
    return [key_id for key_id in key_ids if isinstance(key_id, str)][:MAX_KEY_IDS]


def _claimed_master(part: Any) -> str | None:
    try:
        statement = Statement.parse(part["current"]["payload"]["statement"])
    except (Malformed, KeyError, TypeError, IndexError):
        return None
    return encode_base64(statement.master)
