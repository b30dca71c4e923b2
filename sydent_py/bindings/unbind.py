"""Taking a binding back: by whoever proves the address, by the user's homeserver, or by the user."""

from dataclasses import dataclass

from sydent_py.accounts import presence
from sydent_py.bindings import models
from sydent_py.bindings.associations import Associations, Vouched
from sydent_py.bindings.removal import Removal, Removals
from sydent_py.database import Database
from sydent_py.errors import Forbidden, InvalidParam, NotFound
from sydent_py.identifiers import EMAIL, ServerName, ThreePid, UserId
from sydent_py.validation.sessions import Sessions


@dataclass(frozen=True)
class Unbind:
    """Removes bindings (``POST /3pid/unbind``), and gives what the log says of it, if there was one to remove."""

    database: Database
    sessions: Sessions
    associations: Associations
    removals: Removals

    def by_session(self, account: UserId, sid: str, client_secret: str, mxid: str, threepid: ThreePid) -> Vouched | None:
        """Remove the binding of ``threepid`` to ``mxid``, proved by a session for that address.

        A binding that is not there is removed already. Raises ``Forbidden`` when the session proves another address,
        ``NoValidSession``, ``SessionExpired`` and ``SessionNotValidated``.
        """
        with self.database.begin() as db:
            presence.require(db, account)
            if self.sessions.proof(db, account, sid, client_secret).threepid != threepid:
                raise Forbidden("This validation session is for another address.")
            return self.associations.remove(db, threepid, mxid)

    def by_homeserver(self, homeserver: ServerName, mxid: str, threepid: ThreePid) -> Vouched | None:
        """Remove the binding of ``threepid`` to ``mxid``, a user of the homeserver that signed the request.

        A binding that is not there is removed already. A signed request holds neither time nor nonce: one that has removed
        a binding removes no later one, so that nobody gains anything by sending it again; the owner of the address is asked
        instead. Raises ``Forbidden`` for a user of another homeserver.
        """
        if _server_of(mxid) != homeserver.text:
            raise Forbidden("A homeserver can take back the bindings of its own users alone.")
        with self.database.begin() as db:
            self.associations.lock(db, threepid)
            made_at = self.associations.made_at(db, threepid, mxid)
            if made_at is None:
                return None
            index = self.associations.register.sealer.index("spent_unbinds", mxid, threepid.medium, threepid.address)
            # Nobody can be asked by mail at a phone number, and to be found for ever is worse than to prove it once more.
            if models.spend_unbind(db, index, self.associations.clock.now_ms()) or threepid.medium != EMAIL:
                return self.associations.remove(db, threepid, mxid)
            if models.ask_once(db, index, made_at):
                self.removals.ask(db, Removal(threepid, mxid, made_at))
            return None

    def own(self, account: UserId, threepid: ThreePid) -> Vouched:
        """Remove the account's own binding of ``threepid``; ``NotFound`` when it has none."""
        with self.database.begin() as db:
            presence.require(db, account)
            removed = self.associations.remove(db, threepid, str(account))
        if removed is None:
            raise NotFound("This address is not bound to your account here.")
        return removed


def _server_of(mxid: str) -> str:
    try:
        return UserId.parse(mxid).server.text
    except InvalidParam as error:
        raise Forbidden("A homeserver can take back the bindings of its own users alone.") from error
