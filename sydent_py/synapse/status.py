"""What an admin of the homeserver can see of the module, and have it do."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from synapse.http.server import DirectServeJsonResource
from synapse.module_api import ModuleApi
from synapse.module_api.errors import Codes, SynapseError

from sydent_py import __version__
from sydent_py.synapse import clock, errands, queue
from sydent_py.synapse.config import Config
from sydent_py.synapse.storage import Storage

STATUS_PATH = "/_synapse/client/sydent_py/status"
RECONCILE_PATH = "/_synapse/client/sydent_py/reconcile"
MAX_REASONS = 20


class _AdminResource(DirectServeJsonResource):
    """Module resources are on every listener, the public one for federation too: each of them looks who is asking."""

    def __init__(self, api: ModuleApi, storage: Storage) -> None:
        super().__init__()
        self._api = api
        self._storage = storage

    async def _refuse_strangers(self, request: Any) -> None:
        requester = await self._api.get_user_by_req(request)
        if not await self._api.is_user_admin(requester.user.to_string()):
            raise SynapseError(403, "This is for admins of the homeserver.", Codes.FORBIDDEN)


class StatusResource(_AdminResource):
    """``GET``: how things stand."""

    def __init__(self, api: ModuleApi, storage: Storage, config: Config) -> None:
        super().__init__(api, storage)
        self._config = config

    async def _async_render_GET(self, request: Any) -> tuple[int, Mapping[str, Any]]:  # noqa: N802
        await self._refuse_strangers(request)
        return 200, await self._report()

    async def _report(self) -> dict[str, Any]:
        run, noted = self._storage.run, self._storage.noted
        waiting = await run("waiting", queue.waiting)
        known = await run("known", queue.known)
        refusals = await run("refusals", queue.refusals, MAX_REASONS)
        oldest_s = (clock.now_ms() - waiting.oldest_ts) / 1000 if waiting.count else 0
        return {
            "version": __version__,
            "identity_server": {"url": self._config.server.url, "name": self._config.server.name},
            "self_test": await noted("self_test"),
            "outage": await noted("outage"),
            "queue": {"waiting": waiting.count, "oldest_s": oldest_s, "errands": await run("errands_left", errands.count)},
            "published": known.published,
            "refused": known.refused,
            "refusals": [{"reason": why, "example": user_id, "count": count} for why, user_id, count in refusals],
            "backfill": await noted("backfill"),
            "reconciliation": await noted("reconcile"),
            "keys": await noted("keys"),
            "features": features(self._config),
        }


class ReconcileResource(_AdminResource):
    """``POST``: compare and repair now."""

    async def _async_render_POST(self, request: Any) -> tuple[int, Mapping[str, Any]]:  # noqa: N802
        await self._refuse_strangers(request)
        await self._storage.note("wanted", {"reconcile_ms": clock.now_ms()})
        return 202, {}


def features(config: Config) -> dict[str, Any]:
    """What is turned on."""
    return {
        "publish": asdict(config.publish),
        "lookups": asdict(config.lookups),
        "invites": asdict(config.invites),
        "registration": asdict(config.registration),
        "keys": asdict(config.keys),
    }
