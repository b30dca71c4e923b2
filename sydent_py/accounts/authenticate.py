"""Whose access token it is, and giving it back."""

from dataclasses import dataclass

from sqlalchemy import Connection

from sydent_py.accounts import models
from sydent_py.accounts.terms import Terms
from sydent_py.database import Database
from sydent_py.errors import Unauthorized
from sydent_py.identifiers import UserId
from sydent_py.sealing import hash_token


@dataclass(frozen=True)
class Authenticate:
    """Turns an access token into the account it belongs to."""

    database: Database
    terms: Terms

    def __call__(self, token: str, *, terms_required: bool) -> UserId:
        """The user of ``token``; ``Unauthorized`` for an unknown one, ``TermsNotSigned`` where terms are outstanding."""
        with self.database.autocommit() as db:
            row = models.by_token(db, hash_token(token))
        if row is None:
            raise Unauthorized
        if terms_required:
            self.terms.require(row.user_id, row.terms_accepted)
        return UserId.parse(row.user_id)


@dataclass(frozen=True)
class Tokens:
    """Revokes access tokens."""

    database: Database

    def revoke(self, token: str) -> None:
        """Make ``token`` unusable; ``Unauthorized`` if it already is."""
        with self.database.begin() as db:
            known = models.delete_token(db, hash_token(token))
        if not known:
            raise Unauthorized

    def forget(self, db: Connection, account: UserId) -> int:
        """Delete the account, its tokens and the terms it accepted: how many tokens."""
        return models.delete_account(db, str(account))
