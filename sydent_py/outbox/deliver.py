"""Delivering what the outbox holds, until it has arrived or nobody will ever take it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from sydent_py.clock import Clock, Deadline
from sydent_py.database import Database
from sydent_py.outbox import models
from sydent_py.outbox.outbox import Kind
from sydent_py.sealing import Sealer
from sydent_py.strict_json import parse_object

FIRST_RETRY_MS = 2_000
LAST_RETRY_MS = 3_600_000
THREADS = 8
# Longer than any mail server or homeserver is waited for.
CLAIM_MS = 90_000

log = structlog.get_logger(__name__)


class TryLater(Exception):
    """The message did not arrive, and may the next time.

    ``unreachable`` says that nothing else would reach the destination now. The message names no address and no secret.
    """

    def __init__(self, reason: str, *, unreachable: bool) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


class Undeliverable(Exception):
    """The destination will never take the message. The message names no address and no secret."""


@dataclass(frozen=True)
class Deliver:
    """Delivers the messages of one kind: to many destinations at once, to each of them one at a time.

    ``send`` is given the content, the destination, and how often it was tried before.

    A message is deleted once ``send`` returns or raises ``Undeliverable``. Whoever starts on it puts it off first, past the
    longest ``send`` there is: two workers do not deliver it at once, and after a crash it is delivered again, which
    receivers have to bear. ``TryLater`` and what nobody foresaw is tried again after 2 s, 4 s, and so on up to an hour, until
    ``give_up_after_ms`` have passed since the message was written.
    """

    kind: Kind
    send: Callable[[dict[str, Any], str, int], None]
    give_up_after_ms: int
    database: Database
    sealer: Sealer
    clock: Clock
    _running: dict[str, Thread] = field(init=False, default_factory=dict)

    def __call__(self) -> None:
        """Start on what is due, as far as threads are free; never waits for a delivery."""
        for destination in [name for name, thread in self._running.items() if not thread.is_alive()]:
            del self._running[destination]
        free = THREADS - len(self._running)
        if free > 0:
            for message in self._claim(free):
                # A daemon, because a process that stops does not wait for a server that hangs.
                self._running[message.destination] = Thread(target=self._run, args=(message,), name=self.kind, daemon=True)
                self._running[message.destination].start()

    def backlog(self) -> tuple[int, float]:
        """How many messages wait, and how long the oldest has waited, in seconds."""
        with self.database.autocommit() as db:
            waiting, oldest_ms = models.backlog(db, self.kind)
        return waiting, 0.0 if oldest_ms is None else (self.clock.now_ms() - oldest_ms) / 1000

    def finish(self, within_s: float) -> bool:
        """Wait for the deliveries that are under way, but not for longer: whether all are done.

        What is abandoned is delivered again.
        """
        deadline = Deadline.after(self.clock, within_s)
        for thread in self._running.values():
            thread.join(deadline.remaining_s())
        return not any(thread.is_alive() for thread in self._running.values())

    def _claim(self, limit: int) -> list[Any]:
        now_ms = self.clock.now_ms()
        with self.database.autocommit() as db:
            if not models.is_any_due(db, self.kind, now_ms):
                return []
        with self.database.begin() as db:
            messages = models.due(db, self.kind, now_ms, busy=list(self._running), limit=limit)
            return [message for message in messages if models.claim(db, message.id, message.due_at_ms, now_ms + CLAIM_MS)]

    def _run(self, message: Any) -> None:
        try:
            self._deliver(message)
        except SQLAlchemyError as error:
            # How it went could not be noted: it is delivered again.
            log.error("outbox.not_noted", kind=self.kind, error=type(error).__name__)  # noqa: TRY400 - values may be in it

    def _deliver(self, message: Any) -> None:
        try:
            content = parse_object(self.sealer.unseal(message.content, "outbox.content").encode())
            self.send(content, message.destination, message.attempts)
        except Undeliverable as refusal:
            log.warning("outbox.refused", kind=self.kind, destination=message.destination, reason=str(refusal))
        except TryLater as failure:
            self._postpone(message, str(failure), unreachable=failure.unreachable)
            return
        except Exception as error:
            log.exception("outbox.failed", kind=self.kind)
            self._postpone(message, type(error).__name__, unreachable=False)
            return
        with self.database.begin() as db:
            models.remove(db, message.id)

    def _postpone(self, message: Any, reason: str, *, unreachable: bool) -> None:
        pause_ms = min(LAST_RETRY_MS, FIRST_RETRY_MS << min(message.attempts, 16))
        due_at_ms = self.clock.now_ms() + pause_ms
        attempts = message.attempts + 1
        given_up = due_at_ms > message.created_at_ms + self.give_up_after_ms
        with self.database.begin() as db:
            if given_up:
                models.remove(db, message.id)
            else:
                models.postpone(db, message.id, attempts=attempts, due_at_ms=due_at_ms)
            if unreachable:
                models.postpone_destination(db, self.kind, message.destination, attempts=attempts, due_at_ms=due_at_ms)
        event = "outbox.given_up" if given_up else "outbox.postponed"
        log.warning(event, kind=self.kind, destination=message.destination, attempts=attempts, reason=reason)
