"""Everything this server holds about an account: to be seen, and to be erased."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sydent_py.accounts.authenticate import Tokens
from sydent_py.bindings import models
from sydent_py.bindings.associations import Associations
from sydent_py.database import Database
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.invites.invites import Invites
from sydent_py.log.erase import EraseHistory
from sydent_py.outbox.outbox import Outbox
from sydent_py.validation.sessions import Sessions


@dataclass(frozen=True)
class Mine:
    """Shows an account what is known of it, and forgets it."""

    database: Database
    tokens: Tokens
    sessions: Sessions
    associations: Associations
    invites: Invites
    outbox: Outbox
    erase_history: EraseHistory
    forget_keys: Callable[[Connection, UserId, Sequence[ThreePid]], int]

    def show(self, account: UserId) -> dict[str, list[dict[str, Any]]]:
        """The account's ``bindings``, validation ``sessions``, and the ``invites`` that reach it at its addresses.

        Times are in ms since the epoch; addresses are in clear. A binding has its ``receipt`` for the log.
        """
        with self.database.autocommit() as db:
            bindings = models.of_user(db, str(account))
            sessions = self.sessions.of(db, account)
            invites = self.invites.addressed_to(db, self._threepids(db, account), account)
            described = [self._described(db, binding, account) for binding in bindings]
        return {
            "bindings": described,
            "sessions": [
                {
                    "medium": session.threepid.medium,
                    "address": session.threepid.address,
                    "modified_ts": session.modified_at_ms,
                    "validated_at": session.validated_at_ms,
                }
                for session in sessions
            ],
            "invites": invites,
        }

    def _described(self, db: Connection, binding: Any, account: UserId) -> dict[str, Any]:
        threepid = self.associations.threepid(binding)
        is_ours = binding.origin == self.associations.signer.server_name
        receipt = self.associations.log.receipt(db, threepid, account) if is_ours else None
        return {
            "medium": threepid.medium,
            "address": threepid.address,
            "origin": binding.origin,
            "ts": binding.ts,
            "not_before": binding.not_before,
            "not_after": binding.not_after,
            "receipt": receipt and receipt.to_json(),
        }

    def erase(self, account: UserId) -> dict[str, int]:
        """Delete the account with all that belongs to it, ``show`` and more: how much there was of each.

        ``invites`` counts those that it sent, too. Each binding that is removed is an entry of the log, and no entry tells any
        more what it was about: ``log_entries`` counts them. What peers say of the account is theirs to take back.
        """
        with self.database.begin() as db:
            access_tokens = self.tokens.forget(db, account)
            threepids, told = self._threepids(db, account), self.associations.register.own_addresses(db, account)
            # Addresses before invitations, as whoever binds takes them.
            bindings = self.associations.remove_all(db, account)
            invites = self.invites.forget(db, threepids, account)
            # How many is not told: it would tell whether a mail that was asked for has been sent.
            self.outbox.forget(db, account)
            return {
                "bindings": bindings,
                "sessions": self.sessions.forget(db, account),
                "invites": invites,
                "access_tokens": access_tokens,
                "keys": self.forget_keys(db, account, told),
                "log_entries": self.erase_history(db, account),
            }

    def _threepids(self, db: Connection, account: UserId) -> list[ThreePid]:
        """The addresses that are the account's: bound to it, or proved by it."""
        bound = [self.associations.threepid(binding) for binding in models.of_user(db, str(account))]
        return bound + [each.threepid for each in self.sessions.of(db, account) if each.validated_at_ms is not None]
