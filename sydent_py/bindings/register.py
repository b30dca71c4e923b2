"""What every origin says of every address, and which of it lookups answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from sydent_py.bindings import models
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.directory.publish import Directory
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.sealing import Sealer

FORGET_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """An origin says that an address is a user's, from ``not_before`` to ``not_after``; times in ms since the epoch."""

    threepid: ThreePid
    user_id: str
    ts: int
    not_before: int
    not_after: int
    commitment: bytes | None = None


@dataclass(frozen=True, slots=True)
class OfHomeserver:
    """A claim of this server's own that stands at the word of a trusted homeserver; ``key`` orders them."""

    key: bytes
    threepid: ThreePid
    user_id: str


@dataclass(frozen=True, slots=True)
class Retraction:
    """An origin says nothing of an address any more."""

    threepid: ThreePid


@dataclass(frozen=True, slots=True)
class Displaced:
    """A claim of this server's own that lookups answered until another origin gave the address to another user."""

    threepid: ThreePid
    user_id: str
    by_user_id: str
    by_origin: str


Change = Claim | Retraction


@dataclass(frozen=True, slots=True)
class Standing:
    """What an origin says of an address."""

    origin: str
    user_id: str
    ts: int
    not_after: int


@dataclass(frozen=True)
class AddressRegister:
    """One place for every origin and address, and the lookup table that follows from them.

    Lookups answer the valid claim of greatest ``(ts, origin)``; where ``prefer`` is "local", this server's own before all others.
    An origin changes its own claims alone.
    """

    directory: Directory
    sealer: Sealer
    clock: Clock
    own_origin: str
    prefer: Literal["newest", "local"] = "newest"

    def lock(self, db: Connection, *threepids: ThreePid) -> None:
        """Until this transaction ends, no other one changes what is said of these addresses.

        Everybody locks in one order, so that nobody waits for somebody who waits for them.
        """
        self.directory.lock(db, *threepids)

    def get(self, db: Connection, threepid: ThreePid) -> Any:
        """User ID and ``ts`` of this server's own claim of ``threepid``, or None."""
        return models.get(db, self.own_origin, self.index(threepid))

    def own_addresses(self, db: Connection, user: UserId) -> list[ThreePid]:
        """The addresses that this server itself vouches are ``user``'s."""
        return [self.threepid(row) for row in models.of_user(db, str(user)) if row.origin == self.own_origin]

    def newest_ts(self, db: Connection, threepid: ThreePid) -> int:
        """When the newest claim of ``threepid`` was made, of any origin; 0 where there is none."""
        return max((each.ts for each in self._claims(db, [self.index(threepid)])[self.index(threepid)]), default=0)

    def apply(self, db: Connection, origin: str, changes: Sequence[Change]) -> list[Displaced]:
        """Make the changes of one origin, in order, on addresses that are locked: which claims of our own were displaced."""
        last = {self.index(threepid): change for threepid, change in {each.threepid: each for each in changes}.items()}
        claims = self._claims(db, last)
        before = self._winners(claims)
        models.remove(db, origin, [index for index, change in last.items() if isinstance(change, Retraction)])
        models.put(db, [self._row(origin, index, each) for index, each in last.items() if isinstance(each, Claim)])
        for index, change in last.items():
            others = [each for each in claims[index] if each.origin != origin]
            if isinstance(change, Claim):
                others.append(Standing(origin, change.user_id, change.ts, change.not_after))
            claims[index] = others
        after = self._winners(claims)
        self._publish(db, {change.threepid: after.get(index) for index, change in last.items()})
        return [
            Displaced(last[index].threepid, own.user_id, after[index].user_id, after[index].origin)
            for index, own in before.items()
            if own.origin == self.own_origin != origin and index in after and after[index].user_id != own.user_id
        ]

    def erase(self, db: Connection, origin: str, commitments: Sequence[bytes]) -> None:
        """Forget the claims of an origin that come from these entries of its log."""
        self.lock(db, *self.erased(db, origin, commitments))
        # Again, because the lock was waited for.
        rows = models.erased(db, origin, commitments)
        models.remove(db, origin, [row.address_index for row in rows])
        self._republish(db, {row.address_index: self.threepid(row) for row in rows})

    def note_homeserver(self, db: Connection, threepid: ThreePid, homeserver: str) -> None:
        """Note that this server's own claim of ``threepid``, which is locked, stands at the word of a trusted homeserver.

        It does so for as long as the address is the same user's, also where the user proves it later.
        """
        models.note_homeserver(db, self.own_origin, self.index(threepid), homeserver)

    def of_homeserver(self, db: Connection, homeserver: str, after: bytes, limit: int) -> list[OfHomeserver]:
        """So many of the claims that stand at the word of ``homeserver``, in the order of their keys from ``after`` on."""
        rows = models.of_homeserver(db, homeserver, after, limit)
        return [OfHomeserver(row.address_index, self.threepid(row), row.user_id) for row in rows]

    def origins(self, database: Database) -> set[str]:
        """Every other origin that says anything."""
        with database.autocommit() as db:
            return models.origins(db) - {self.own_origin}

    def forget_expired(self, database: Database) -> None:
        """Forget the claims that have ended: lookups answer what others say."""
        rows: list[Any] = [None]
        while rows:
            with database.begin() as db:
                rows = models.expired(db, self.clock.now_ms(), FORGET_AT_ONCE)
                self.lock(db, *map(self.threepid, rows))
                for origin in sorted({row.origin for row in rows}):
                    self.apply(db, origin, [Retraction(self.threepid(row)) for row in rows if row.origin == origin])

    def settle(self, database: Database) -> None:
        """Have lookups answer by the rules of today where origins disagree: the configuration may have changed."""
        after: bytes | None = b""
        while after is not None:
            with database.begin() as db:
                rows = models.disputed(db, after, FORGET_AT_ONCE)
                addresses = {row.address_index: self.threepid(row) for row in rows}
                self.lock(db, *addresses.values())
                self._republish(db, addresses)
            after = max(addresses, default=None)

    def forget_origin(self, database: Database, origin: str) -> None:
        """Forget all that an origin says, in as many transactions as it takes."""
        rows: list[Any] = [None]
        while rows:
            with database.begin() as db:
                rows = models.of_origin(db, origin, FORGET_AT_ONCE)
                self.lock(db, *map(self.threepid, rows))
                self.apply(db, origin, [Retraction(self.threepid(row)) for row in rows])

    def erased(self, db: Connection, origin: str, commitments: Sequence[bytes]) -> list[ThreePid]:
        """The addresses of an origin's claims that come from these entries of its log."""
        return [self.threepid(row) for row in models.erased(db, origin, commitments)]

    def threepid(self, row: Any) -> ThreePid:
        """The address of a binding."""
        return ThreePid(row.medium, self.sealer.unseal(row.address, "bindings.address"))

    def index(self, threepid: ThreePid) -> bytes:
        """What finds the bindings of an address."""
        return self.sealer.index("bindings.address", threepid.medium, threepid.address)

    def winners(self, db: Connection, indexes: Iterable[bytes]) -> dict[bytes, Standing]:
        """The claim that counts, of each address that has one."""
        return self._winners(self._claims(db, indexes))

    def _claims(self, db: Connection, indexes: Iterable[bytes]) -> dict[bytes, list[Standing]]:
        claims: dict[bytes, list[Standing]] = {index: [] for index in indexes}
        for row in models.of_addresses(db, list(claims)):
            claims[row.address_index].append(Standing(row.origin, row.user_id, row.ts, row.not_after))
        return claims

    def _winners(self, claims: Mapping[bytes, Sequence[Standing]]) -> dict[bytes, Standing]:
        # A claim that begins in a moment counts already: nobody would come back to the lookup table when it begins.
        now_ms = self.clock.now_ms()
        valid = {index: [each for each in of_address if now_ms < each.not_after] for index, of_address in claims.items()}
        return {index: max(of_address, key=self._weight) for index, of_address in valid.items() if of_address}

    def _weight(self, claim: Standing) -> tuple[bool, int, str]:
        return self.prefer == "local" and claim.origin == self.own_origin, claim.ts, claim.origin

    def _republish(self, db: Connection, addresses: Mapping[bytes, ThreePid]) -> None:
        winners = self.winners(db, addresses)
        self._publish(db, {threepid: winners.get(index) for index, threepid in addresses.items()})

    def _publish(self, db: Connection, winners: Mapping[ThreePid, Standing | None]) -> None:
        self.directory.publish(db, {threepid: winner.user_id if winner else None for threepid, winner in winners.items()})

    def _row(self, origin: str, index: bytes, claim: Claim) -> dict[str, object]:
        return {
            "origin": origin,
            "address_index": index,
            "medium": claim.threepid.medium,
            "address": self.sealer.seal(claim.threepid.address, "bindings.address"),
            "user_id": claim.user_id,
            "ts": claim.ts,
            "not_before": claim.not_before,
            "not_after": claim.not_after,
            "commitment": claim.commitment,
        }
