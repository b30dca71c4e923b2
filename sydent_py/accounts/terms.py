"""The policies a user must accept first (Identity Service API, "Terms of service")."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sydent_py.accounts import models, presence
from sydent_py.database import Database
from sydent_py.errors import TermsNotSigned
from sydent_py.identifiers import UserId
from sydent_py.terms_file import TermsFile


@dataclass(frozen=True)
class Terms:
    """The policies of this server, and who has accepted them."""

    database: Database
    file: TermsFile

    @cached_property
    def policies(self) -> dict[str, Any]:
        """The answer to ``GET /terms``."""
        return {"policies": {name: policy.model_dump() for name, policy in self.file.policies.items()}}

    @cached_property
    def version(self) -> str:
        """A name for exactly this set of policies, to remember with an account that has accepted it; empty for none."""
        if not self.file.policies:
            return ""
        return hashlib.sha256(json.dumps(self.policies, sort_keys=True).encode()).hexdigest()

    def accept(self, account: UserId, urls: Iterable[str]) -> None:
        """Add ``urls`` to what the account has accepted; those that are no policy of ours are not kept."""
        ours = frozenset().union(*(policy.urls for policy in self.file.policies.values()))
        with self.database.begin() as db:
            presence.require(db, account)
            models.accept(db, str(account), sorted(ours.intersection(urls)))

    def require(self, user_id: str, accepted_version: str | None) -> None:
        """``TermsNotSigned`` unless the user has accepted every policy in some language.

        ``accepted_version`` is what the account is known to have accepted; a match spares the look at each policy.
        """
        if not self.version or accepted_version == self.version:
            return
        with self.database.autocommit() as db:
            accepted = models.accepted(db, user_id)
        if not all(policy.urls & accepted for policy in self.file.policies.values()):
            raise TermsNotSigned
        with self.database.begin() as db:
            models.set_terms_accepted(db, user_id, self.version)
