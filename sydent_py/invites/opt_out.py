"""Addresses that want no invitations by mail."""

from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import NotFound
from sydent_py.identifiers import EMAIL, ThreePid
from sydent_py.invites import models
from sydent_py.sealing import SealBroken, Sealer


@dataclass(frozen=True)
class OptOut:
    """An address, and whether it wants no invitations."""

    threepid: ThreePid
    is_opted_out: bool


@dataclass(frozen=True)
class OptOuts:
    """Remembers who wants no invitations by mail, without keeping their addresses.

    The link in a mail holds the sealed address: it works for as long as the sealing key does, and cannot be made up.
    """

    database: Database
    sealer: Sealer
    clock: Clock
    url: str

    def link(self, threepid: ThreePid) -> str:
        """The link to put into a mail to ``threepid``."""
        return f"{self.url}?t={self.sealer.seal_link(threepid.address, 'invite_opt_outs.link')}"

    def describe(self, token: str) -> OptOut:
        """What the link is about; ``NotFound`` for a token of nobody's making."""
        threepid = self._threepid(token)
        with self.database.autocommit() as db:
            return OptOut(threepid, self.is_opted_out(db, threepid))

    def opt_out(self, token: str) -> ThreePid:
        """Send no more invitations to the address of the link; ``NotFound``."""
        threepid = self._threepid(token)
        with self.database.begin() as db:
            models.opt_out(db, self._index(threepid), self.clock.now_ms())
        return threepid

    def opt_in(self, token: str) -> ThreePid:
        """Send invitations again; ``NotFound``."""
        threepid = self._threepid(token)
        with self.database.begin() as db:
            models.opt_in(db, self._index(threepid))
        return threepid

    def is_opted_out(self, db: Connection, threepid: ThreePid) -> bool:
        """Whether ``threepid`` wants no invitations by mail."""
        return models.is_opted_out(db, self._index(threepid))

    def _threepid(self, token: str) -> ThreePid:
        try:
            return ThreePid(EMAIL, self.sealer.unseal_link(token, "invite_opt_outs.link"))
        except SealBroken as error:
            raise NotFound("This link is not valid.") from error

    def _index(self, threepid: ThreePid) -> bytes:
        mailbox = threepid.mailbox
        return self.sealer.index("invite_opt_outs.address", mailbox.medium, mailbox.address)
