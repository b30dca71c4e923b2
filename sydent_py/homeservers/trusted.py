"""Everything that trusted homeservers ask, as the HTTP edge finds it."""

from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py.bindings.bind import Bind
from sydent_py.homeservers import models
from sydent_py.homeservers.authenticate import AuthenticateTrusted
from sydent_py.homeservers.changes import ApplyChanges
from sydent_py.homeservers.invites import WaitingInvites
from sydent_py.homeservers.keys import CompareKeys
from sydent_py.homeservers.lookup import LookupForHomeserver
from sydent_py.homeservers.reconcile import Reconcile
from sydent_py.keys.register import KeyRegister
from sydent_py.rate_limits import RateLimits
from sydent_py.settings import Settings


@dataclass(frozen=True)
class TrustedHomeservers:
    """The homeservers of the configuration that bind for their users, and keep in step by the companion module."""

    authenticate: AuthenticateTrusted
    change: ApplyChanges
    reconcile: Reconcile
    invites: WaitingInvites
    lookup: LookupForHomeserver
    compare_keys: CompareKeys

    def forget_expired(self, db: Connection) -> None:
        """Forget the requests that would not be believed any more."""
        models.forget_requests(db, self.authenticate.clock.now_ms())


def build(settings: Settings, bind: Bind, keys: KeyRegister, rate_limits: RateLimits) -> TrustedHomeservers:
    """All there is to do with trusted homeservers, on the database and the directory that ``bind`` writes to."""
    database, associations = bind.database, bind.associations
    register, clock = associations.register, associations.clock
    return TrustedHomeservers(
        authenticate=AuthenticateTrusted(database, {each.name: each for each in settings.trusted_homeservers}, clock),
        change=ApplyChanges(database, bind, register.sealer, clock),
        reconcile=Reconcile(database, register),
        invites=WaitingInvites(database, associations, bind.invites),
        lookup=LookupForHomeserver(database, register.directory, rate_limits),
        compare_keys=CompareKeys(database, keys),
    )
