"""Who may invite whom by address, and which addresses may register because they were invited."""

import logging
from dataclasses import dataclass
from typing import Any

from synapse.module_api import NOT_SPAM
from synapse.module_api.errors import Codes

from sydent_py.synapse import clock, metrics, pending
from sydent_py.synapse.binding import Binding
from sydent_py.synapse.clock import DAY_MS
from sydent_py.synapse.config import Invites, Registration
from sydent_py.synapse.consent import is_in
from sydent_py.synapse.storage import Storage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InvitePolicy:
    """Of invitations to addresses that nobody has bound, before the identity server hears of them and sends mail."""

    storage: Storage
    settings: Invites
    days_kept: int

    async def user_may_send_3pid_invite(self, inviter: str, medium: str, address: str, room_id: str) -> Any:
        """``NOT_SPAM``, or the error code of the refusal."""
        address = address.lower()
        if not self._may_be_invited(medium, address):
            return self._refused("domain")
        now_ms = clock.now_ms()
        if self.settings.per_user_per_day:
            sent = await self.storage.run("invites_sent", pending.sent_by, inviter, now_ms - DAY_MS)
            if sent >= self.settings.per_user_per_day:
                return self._refused("rate")
        await self.storage.run("invites_forget", pending.forget, now_ms - self.days_kept * DAY_MS)
        await self.storage.run("invite", pending.sent, now_ms, Binding(medium, address, inviter), room_id)
        return NOT_SPAM

    def _may_be_invited(self, medium: str, address: str) -> bool:
        if medium != "email":
            return True
        if is_in(address, self.settings.denied_domains):
            return False
        return not self.settings.allowed_domains or is_in(address, self.settings.allowed_domains)

    def _refused(self, why: str) -> Codes:
        metrics.INVITES.labels(result=f"refused_{why}").inc()
        return Codes.FORBIDDEN


@dataclass(frozen=True)
class RegistrationPolicy:
    """Of addresses that people want to register with."""

    storage: Storage
    settings: Registration

    async def is_3pid_allowed(self, medium: str, address: str, registration: bool) -> bool:  # noqa: FBT001 - Synapse's
        """Whether the address is of an open domain, or was invited to a room by somebody here."""
        address = address.lower()
        if not registration or (medium == "email" and is_in(address, self.settings.domains)):
            return True
        since_ms = clock.now_ms() - self.settings.invite_days * DAY_MS
        if await self.storage.run("invited", pending.is_invited, medium, address, since_ms):
            return True
        metrics.REGISTRATIONS.labels(reason="not_invited").inc()
        return False
