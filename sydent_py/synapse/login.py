"""Login with an address that the identity server knows and the homeserver does not."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from synapse.module_api import ModuleApi

from sydent_py.synapse import census
from sydent_py.synapse.lookups import Lookup
from sydent_py.synapse.storage import Storage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Login:
    """``check_password`` gives the user ID as it is spelled here, or None."""

    api: ModuleApi
    storage: Storage
    lookup: Lookup
    check_password: Callable[[str, str], Awaitable[str | None]]

    async def check_3pid_auth(self, medium: str, address: str, password: str) -> tuple[str, Any] | None:
        """Who logs in, if the address is bound to a user of this homeserver whose password this is. None leaves it to Synapse."""
        try:
            user_id = await self._owner(medium, address.lower())
            checked = user_id and await self.check_password(user_id, password)
        except Exception:
            logger.exception("Login without the identity server")
            return None
        return (checked, None) if checked else None

    async def _owner(self, medium: str, address: str) -> str | None:
        if await self.storage.run("owner", census.owner, medium, address):
            return None
        user_id = await self.lookup.find(medium, address, "login")
        return user_id if user_id and self.api.is_mine(user_id) else None
