"""Which addresses may leave the homeserver: media and domains are the admin's choice, and each user's word comes on top."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sydent_py.synapse.config import OPT_IN, Publishing

# Global account data of a user: {"publish": false} opts out, {"publish": true} opts in.
ACCOUNT_DATA_TYPE = "org.sydent_py.consent"


@dataclass(frozen=True)
class Consent:
    """What the admin has chosen."""

    publishing: Publishing

    def covers(self, medium: str, address: str) -> bool:
        """Whether addresses of this kind are published at all."""
        if medium not in self.publishing.media:
            return False
        return medium != "email" or is_in(address, self.publishing.domains) or not self.publishing.domains

    def is_given(self, account_data: Mapping[str, Any] | None) -> bool:
        """Whether a user with this account data has their addresses published; what makes no sense in it is a no."""
        if account_data is None or "publish" not in account_data:
            return self.publishing.consent != OPT_IN
        return account_data["publish"] is True


def is_in(address: str, domains: tuple[str, ...]) -> bool:
    """Whether an email address is of one of ``domains``, themselves and not those below them."""
    return address.rpartition("@")[2].lower() in domains
