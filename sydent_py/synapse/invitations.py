"""Invitations that wait at the identity server: taken in when their address is bound, ended when they are revoked."""

import logging
from dataclasses import dataclass
from typing import Any

from synapse.module_api import ModuleApi
from synapse.module_api.errors import SynapseError

from sydent_py.synapse import errands, metrics
from sydent_py.synapse.client import Client
from sydent_py.synapse.errands import Errand
from sydent_py.synapse.internals import Exchange, Membership
from sydent_py.synapse.queue import Change
from sydent_py.synapse.run_errands import NotYet
from sydent_py.synapse.storage import Storage
from sydent_py.synapse.wire import Refusal

# What a homeserver says of an invitation that will never be valid: revoked, or not signed by the key it names.
FINAL = (400, 403, 404)

FORBIDDEN = 403

logger = logging.getLogger(__name__)


def once(exchange: Exchange, membership: Membership) -> Exchange:
    """``exchange``, but for users who are in the room or invited already.

    An invitation comes twice where we have pulled it and the identity server delivers it later; Synapse would take the second
    as a reason to put somebody who has joined out of the room.
    """

    async def exchange_third_party_invite(sender: str, user_id: str, room_id: str, signed: dict[str, Any]) -> None:
        if await membership(user_id, room_id) not in {"join", "invite"}:
            await exchange(sender, user_id, room_id, signed)

    return exchange_third_party_invite


@dataclass(frozen=True)
class Revoke:
    """Tells the identity server that an invitation was revoked, so that its key is not valid any more."""

    client: Client

    async def __call__(self, errand: Errand) -> None:
        """``Unreachable``, ``Refusal``"""
        await self.client.ask_unstamped("revoke-invite", {"token": errand.name})
        metrics.INVITES.labels(result="revoked").inc()


@dataclass(frozen=True)
class Pull:
    """Makes invitations to rooms of those that wait for an address; each of them is verified as one from elsewhere is."""

    api: ModuleApi
    storage: Storage
    client: Client
    exchange: Exchange
    join: bool

    async def on_bound(self, change: Change) -> None:
        """The identity server has bound an address: ask for its invitations soon."""
        binding = change.binding
        detail = {"medium": binding.medium, "address": binding.address, "mxid": binding.user_id}
        await self.storage.run("pull", errands.add, errands.PULL, " ".join(detail.values()), detail)

    async def __call__(self, errand: Errand) -> None:
        """``Unreachable``, ``Refusal``; ``NotYet`` where another homeserver has to do something first."""
        finished: list[str] = errand.detail.setdefault("finished", [])
        who = {key: errand.detail[key] for key in ("medium", "address", "mxid")}
        try:
            answer = await self.client.ask("invites", who)
        except Refusal as refusal:
            if refusal.status == FORBIDDEN:  # the address does not belong to the user any more
                return
            raise
        failures = []
        for invite in answer.get("invites", []):
            if invite["token"] in finished or invite["mxid"] != who["mxid"]:
                continue
            try:
                await self._take(invite)
            except SynapseError as error:
                if error.code not in FINAL:
                    failures.append(f"{error.code} {error.msg}")
                    continue
                logger.info("An invitation to %s is not valid: %s", invite["room_id"], error.msg)
            finished.append(invite["token"])
        if failures:
            raise NotYet(failures[0])

    async def _take(self, invite: dict[str, Any]) -> None:
        user_id, room_id = invite["mxid"], invite["room_id"]
        await self.exchange(invite["sender"], user_id, room_id, invite["signed"])
        metrics.INVITES.labels(result="pulled").inc()
        if self.join:
            await self.api.update_room_membership(user_id, user_id, room_id, "join")
