"""The pepper clients hash with, and the lookup keys of an address under every pepper that still answers."""

import base64
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from sydent_py import tokens
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.directory import models
from sydent_py.errors import InvalidPepper
from sydent_py.identifiers import ThreePid
from sydent_py.sealing import Sealer

# How long a process may go on answering under a pepper that another one has retired and cleared away.
CACHE_S = 60.0


class SealingKeyMismatch(Exception):
    """The lookup table was made with another sealing key, so that nothing in it could ever be found."""


@dataclass
class Peppers:
    """Reads the peppers; keeps which one has which generation for a minute."""

    database: Database
    sealer: Sealer
    clock: Clock
    _generations: dict[str, int] = field(init=False, default_factory=dict)
    _read_at_s: float = field(init=False, default=0.0)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def prepare(self) -> None:
        """Create the first pepper where there is none; ``SealingKeyMismatch`` if the table belongs to another key."""
        pepper = tokens.new_pepper()
        with self.database.begin() as db:
            if not models.peppers(db):
                models.add_first_pepper(db, pepper, self._key_check(pepper), self.clock.now_ms())
            for row in models.peppers(db):
                if row["key_check"] != self._key_check(row["pepper"]):
                    raise SealingKeyMismatch

    def current(self) -> str:
        """The pepper that clients are told to use."""
        with self.database.autocommit() as db:
            return str(models.peppers(db)[0]["pepper"])

    def generation(self, pepper: str) -> int:
        """The generation of lookup rows that ``pepper`` reads; ``InvalidPepper`` for one that answers no more."""
        with self._lock:
            stale = self.clock.monotonic_s() - self._read_at_s > CACHE_S
            if stale or pepper not in self._generations:
                self._read()
            if pepper not in self._generations:
                raise InvalidPepper
            return self._generations[pepper]

    def keys(self, db: Connection, threepids: Sequence[ThreePid]) -> list[list[tuple[int, bytes]]]:
        """Where each address stands in the lookup table: (generation, key) of each spelling under every pepper that answers."""
        peppers = [(row["generation"], row["pepper"]) for row in models.peppers(db)]
        return [self._keys(peppers, threepid) for threepid in threepids]

    def _keys(self, peppers: Sequence[tuple[int, str]], threepid: ThreePid) -> list[tuple[int, bytes]]:
        queries = [
            (generation, lookup_hash(f"{spelling} {threepid.medium}", pepper))
            for generation, pepper in peppers
            for spelling in threepid.spellings
        ]
        keys = self.sealer.lookup_keys(query for _, query in queries)
        return [(generation, key) for (generation, _), key in zip(queries, keys, strict=True)]

    def _read(self) -> None:
        with self.database.autocommit() as db:
            self._generations = {row["pepper"]: row["generation"] for row in models.peppers(db)}
        self._read_at_s = self.clock.monotonic_s()

    def _key_check(self, pepper: str) -> bytes:
        return self.sealer.lookup_keys([pepper])[0]


def lookup_hash(query: str, pepper: str) -> str:
    """The ``sha256`` algorithm of the specification: URL-safe unpadded base64 over ``<address> <medium> <pepper>``."""
    digest = hashlib.sha256(f"{query} {pepper}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
