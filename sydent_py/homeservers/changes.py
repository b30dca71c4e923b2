"""What a trusted homeserver binds and unbinds for its users: the newest change of an address wins, in whatever order they come."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from sydent_py.bindings.bind import Bind
from sydent_py.clock import Clock
from sydent_py.database import Database, chunks
from sydent_py.errors import Forbidden, InvalidParam, MatrixError
from sydent_py.homeserver_settings import TrustedHomeserver
from sydent_py.homeservers import models
from sydent_py.homeservers.authenticate import WINDOW_MS
from sydent_py.homeservers.models import Moment
from sydent_py.identifiers import EMAIL, ThreePid, UserId
from sydent_py.sealing import Sealer

# In one transaction: so many take some tenths of a second, in which nobody else can write to SQLite.
CHANGES_AT_ONCE = 25

Status = Literal["done", "unchanged", "superseded"]


@dataclass(frozen=True, slots=True)
class Change:
    """An address that was added to a user, or taken from one, on their homeserver at ``ts`` (ms).

    ``seq`` tells changes of one millisecond apart: of two, the one with the greater ``(ts, seq)`` came later.
    """

    action: Literal["bind", "unbind"]
    threepid: ThreePid
    user: UserId
    ts: int
    seq: int

    @property
    def moment(self) -> Moment:
        """What changes are ordered by."""
        return self.ts, self.seq


@dataclass(frozen=True)
class ApplyChanges:
    """Makes associations of this server's own, and takes them back, at the word of a homeserver."""

    database: Database
    bind: Bind
    sealer: Sealer
    clock: Clock

    def __call__(self, homeserver: TrustedHomeserver, changes: Sequence[Change | MatrixError]) -> list[Status | MatrixError]:
        """What became of each of ``changes``, in order; one that was or is refused refuses no other.

        Each is made whole or not at all, and where the database fails in the middle the rest may be sent again with the first.

        "superseded" is a change that is not newer than the newest of its address, "unchanged" one that found it so. Refused are
        users of another homeserver (``Forbidden``), changes from the future (``InvalidParam``) and, of binds alone, media and
        domains that the configuration does not list (``Forbidden``): what was bound under an earlier one can be taken back.
        """
        judged = [self._judged(homeserver, change) for change in changes]
        return [result for some in chunks(judged, CHANGES_AT_ONCE) for result in self._apply_all(homeserver, some)]

    def _apply_all(
        self, homeserver: TrustedHomeserver, judged: Sequence[Change | MatrixError]
    ) -> list[Status | MatrixError]:
        """Make some changes in one transaction: bindings, their entries in the log, and what is the newest of each address."""
        accepted = {self._index(homeserver, change.threepid): change for change in judged if isinstance(change, Change)}
        with self.database.begin() as db:
            self.bind.associations.lock(db, *(change.threepid for change in accepted.values()))
            before = models.newest(db, homeserver.name, list(accepted))
            newest = dict(before)
            results = [
                change if isinstance(change, MatrixError) else self._apply(db, homeserver, change, newest)
                for change in judged
            ]
            newer = {index: moment for index, moment in newest.items() if before.get(index) != moment}
            models.put_newest(db, homeserver.name, newer)
        return results

    def _judged(self, homeserver: TrustedHomeserver, change: Change | MatrixError) -> Change | MatrixError:
        """The change, or why it is refused."""
        if isinstance(change, MatrixError):
            return change
        if change.user.server.text != homeserver.name:
            return Forbidden("A homeserver can change the addresses of its own users alone.")
        if change.action == "bind" and not _may_bind(homeserver, change.threepid):
            return Forbidden(
                "The operator of this server does not let your homeserver bind addresses of this medium or domain."
            )
        now_ms = self.clock.now_ms()
        if change.ts > now_ms + WINDOW_MS:
            return InvalidParam(f"The ts of this change is in the future. Our time is {now_ms}: is one of the clocks wrong?")
        return change

    def _apply(self, db: Connection, homeserver: TrustedHomeserver, change: Change, newest: dict[bytes, Moment]) -> Status:
        """Make one change on an address that is locked, if it is newer than the ``newest`` of its address, and note it there."""
        index = self._index(homeserver, change.threepid)
        if index in newest and change.moment <= newest[index]:
            return "superseded"
        newest[index] = change.moment
        has_changed = self._bind(db, change) if change.action == "bind" else self._unbind(db, change)
        return "done" if has_changed else "unchanged"

    def _bind(self, db: Connection, change: Change) -> bool:
        """Vouch for a binding: whether it is new. One that stands is the homeserver's from now on, whoever made it."""
        associations = self.bind.associations
        is_new = associations.made_at(db, change.threepid, str(change.user)) is None
        if is_new:
            self.bind.vouch(db, change.threepid, change.user, at_the_word_of=change.user.server)
        else:
            associations.register.note_homeserver(db, change.threepid, change.user.server.text)
        return is_new

    def _unbind(self, db: Connection, change: Change) -> bool:
        """Take a binding back: whether there was one."""
        return self.bind.associations.remove(db, change.threepid, str(change.user)) is not None

    def _index(self, homeserver: TrustedHomeserver, threepid: ThreePid) -> bytes:
        """What finds the newest change of an address, each homeserver's its own."""
        return self.sealer.index("homeserver_changes.address", homeserver.name, threepid.medium, threepid.address)


def _may_bind(homeserver: TrustedHomeserver, threepid: ThreePid) -> bool:
    """Whether the configuration lists the medium and, of an email address, the domain."""
    domain = threepid.address.rpartition("@")[2]
    is_listed = threepid.medium != EMAIL or not homeserver.domains or domain in homeserver.domains
    return threepid.medium in homeserver.media and is_listed
