"""People search: who types a whole address finds its owner, also one whom the user directory does not know."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from synapse.logging.context import make_deferred_yieldable, run_in_background
from synapse.module_api import ModuleApi

from sydent_py.synapse.internals import Search
from sydent_py.synapse.lookups import Lookup
from sydent_py.synapse.terms import address_in

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PeopleSearch:
    """``is_spam`` is what other modules keep from a user."""

    api: ModuleApi
    lookup: Lookup
    is_spam: Callable[[dict[str, Any], str], Awaitable[bool]]

    def around(self, search: Search) -> Search:
        """``search``, and the owner of the address before what it finds. Both are asked at once."""

        async def search_users(user_id: str, search_term: str, limit: int) -> dict[str, Any]:
            address = address_in(search_term)
            if address is None or limit < 1:
                return await search(user_id, search_term, limit)
            asked = run_in_background(self._owner, user_id, *address)
            found = await search(user_id, search_term, limit)
            owner = await make_deferred_yieldable(asked)
            return found if owner is None else _with(owner, found, limit)

        return search_users

    async def _owner(self, searcher: str, medium: str, address: str) -> dict[str, Any] | None:
        """As the user directory shows a user; None, whatever goes wrong."""
        try:
            user_id = await self.lookup.find(medium, address, "people_search", searcher)
            if user_id is None:
                return None
            profile = await self._profile(user_id)
            return None if await self.is_spam(dict(profile), searcher) else profile
        except Exception:
            logger.exception("People search without the identity server")
            return None

    async def _profile(self, user_id: str) -> dict[str, Any]:
        nameless = {"user_id": user_id, "display_name": None, "avatar_url": None}
        if not self.api.is_mine(user_id):
            return nameless
        try:
            profile = await self.api.get_profile_for_user(user_id[1:].partition(":")[0])
        except Exception:  # noqa: BLE001 - a user without a profile is found without one
            return nameless
        return {**nameless, "display_name": profile.display_name, "avatar_url": profile.avatar_url}


def _with(owner: dict[str, Any], found: dict[str, Any], limit: int) -> dict[str, Any]:
    others = [result for result in found["results"] if result["user_id"] != owner["user_id"]]
    same = [result for result in found["results"] if result["user_id"] == owner["user_id"]]
    results = [*(same or [owner]), *others]
    return {**found, "results": results[:limit], "limited": bool(found["limited"]) or len(results) > limit}
