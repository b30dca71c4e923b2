"""What stands here at the word of a trusted homeserver, for it to compare with what it knows."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sydent_py.bindings.register import AddressRegister, OfHomeserver
from sydent_py.database import Database
from sydent_py.errors import InvalidParam
from sydent_py.homeserver_settings import TrustedHomeserver
from sydent_py.homeservers.digest import Bucket, binding_hash, bucket_of, buckets_of

READ_AT_ONCE = 500
MAX_PAGE = 500


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the bindings, and where the next page goes on; empty where there is none."""

    bindings: list[OfHomeserver]
    next: str


@dataclass(frozen=True)
class Reconcile:
    """Tells a homeserver of the bindings it has made that still stand: briefly, then those where the two differ.

    It reads all of them each time, because what finds an address at rest is no hash that a homeserver could know.
    """

    database: Database
    register: AddressRegister

    def digest(self, homeserver: TrustedHomeserver) -> dict[str, Bucket]:
        """All bindings, by bucket."""
        return buckets_of(binding_hash(each.threepid, each.user_id) for each in self._standing(homeserver, b""))

    def page(self, homeserver: TrustedHomeserver, buckets: Collection[str], after: str) -> Page:
        """The bindings in ``buckets``, so many at once, from the page on that ``after`` names; ``InvalidParam`` for no such name."""
        found: list[OfHomeserver] = []
        for each in self._standing(homeserver, _read_cursor(after)):
            if bucket_of(binding_hash(each.threepid, each.user_id)) not in buckets:
                continue
            if len(found) == MAX_PAGE:
                return Page(found, found[-1].key.hex())
            found.append(each)
        return Page(found, "")

    def _standing(self, homeserver: TrustedHomeserver, after: bytes) -> Iterator[OfHomeserver]:
        more = True
        while more:
            with self.database.autocommit() as db:
                some = self.register.of_homeserver(db, homeserver.name, after, READ_AT_ONCE)
            yield from some
            more = len(some) == READ_AT_ONCE
            after = some[-1].key if some else after


def _read_cursor(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise InvalidParam("after must be empty, or the next of an earlier answer.") from error
