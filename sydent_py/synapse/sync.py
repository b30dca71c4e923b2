"""What happens to addresses on the homeserver goes into the queue; the user's request waits for that alone."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sydent_py.synapse import census, clock, queue
from sydent_py.synapse.binding import Binding
from sydent_py.synapse.consent import ACCOUNT_DATA_TYPE, Consent
from sydent_py.synapse.storage import Storage
from sydent_py.synapse.tables import Txn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sync:
    """The callbacks. Synapse logs what they raise and goes on; reconciliation makes good for what is lost so."""

    storage: Storage
    consent: Consent

    async def added(self, user_id: str, medium: str, address: str) -> None:
        """``on_add_user_third_party_identifier``, also where an admin gives the address of one user to another."""
        if self.consent.covers(medium, address):
            await self.storage.write("added", _added, clock.now_ms(), Binding(medium, address, user_id), self.consent)

    async def removed(self, user_id: str, medium: str, address: str) -> None:
        """``on_remove_user_third_party_identifier``"""
        covered = self.consent.covers(medium, address)
        await self.storage.write("removed", _removed, clock.now_ms(), Binding(medium, address, user_id), covered=covered)

    async def deactivation_changed(self, user_id: str, deactivated: bool, _by_admin: bool) -> None:  # noqa: FBT001
        """``on_user_deactivation_status_changed``"""
        if deactivated:
            await self.storage.write("deactivated", queue.withdraw_user, clock.now_ms(), user_id)

    async def account_data_updated(self, user_id: str, room_id: str | None, kind: str, content: Mapping[str, Any]) -> None:
        """``on_account_data_updated``: a user has said whether their addresses may be published."""
        if room_id is None and kind == ACCOUNT_DATA_TYPE:
            given = self.consent.is_given(content)
            await self.storage.write("consent", _consent, clock.now_ms(), user_id, self.consent, given=given)


def _added(txn: Txn, now_ms: int, binding: Binding, consent: Consent) -> None:
    if census.consenting(txn, [binding.user_id], consent):
        queue.publish(txn, now_ms, binding)
    else:
        queue.withdraw_others(txn, now_ms, binding)


def _removed(txn: Txn, now_ms: int, binding: Binding, *, covered: bool) -> None:
    """What the configuration covers may have been published before our tables were lost; the rest only if they say so."""
    if covered or queue.has(txn, binding):
        queue.withdraw(txn, now_ms, binding)


def _consent(txn: Txn, now_ms: int, user_id: str, consent: Consent, *, given: bool) -> None:
    if not given:
        queue.withdraw_user(txn, now_ms, user_id)
        return
    for binding in census.addresses(txn, user_id):
        if consent.covers(binding.medium, binding.address):
            queue.publish(txn, now_ms, binding)
