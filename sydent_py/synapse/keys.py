"""Whether the master keys that the homeserver serves are those that its users have published at the identity server."""

import json
import logging
from dataclasses import dataclass
from typing import Any

from sydent_py.synapse import clock, metrics
from sydent_py.synapse.client import Client
from sydent_py.synapse.storage import Storage
from sydent_py.synapse.tables import Txn
from sydent_py.synapse.wire import Unreachable

# As many as one request may ask about.
USERS_A_REQUEST = 200
MAX_EXAMPLES = 20
MATCH, DIFFERS, UNPUBLISHED = "match", "differs", "unpublished"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareKeys:
    """A key that differs was changed by whoever has broken in here, or by a user who has not published it yet."""

    storage: Storage
    client: Client

    async def __call__(self) -> None:
        """Compare once, and say whose differ. ``Unreachable``, ``Refusal``."""
        counts, differing = dict.fromkeys((MATCH, DIFFERS, UNPUBLISHED), 0), list[str]()
        after: str | None = ""
        while after is not None:
            masters, after = await self.storage.run("master_keys", master_keys, after)
            if not masters:
                continue
            found = (await self.client.ask("keys/compare", {"keys": masters})).get("users")
            if not isinstance(found, dict) or not all(found.get(user_id) in counts for user_id in masters):
                raise Unreachable("the comparison of keys is none: is this the identity server?")
            for user_id in masters:
                counts[found[user_id]] += 1
                differing += [user_id] if found[user_id] == DIFFERS else []
        metrics.KEYS_DIFFERING.set(counts[DIFFERS])
        before = (await self.storage.noted("keys")).get(DIFFERS, 0)
        state = {"finished_ms": clock.now_ms(), **counts, "examples": differing[:MAX_EXAMPLES]}
        await self.storage.note("keys", state)
        if differing and counts[DIFFERS] != before:
            logger.warning(
                "The master keys of %d users are not those that they have published, that of %s for one: "
                "look at the status, and ask them whether they have made new ones",
                counts[DIFFERS], differing[0],
            )  # fmt: skip


def master_keys(txn: Txn, after: str) -> tuple[dict[str, str], str | None]:
    """One page of the public master keys of the homeserver's active users, and where the next one begins."""
    txn.execute(
        "SELECT k.user_id, k.keydata FROM e2e_cross_signing_keys AS k"
        " JOIN users AS u ON u.name = k.user_id AND u.deactivated = 0"
        " WHERE k.keytype = 'master' AND k.user_id > ? AND k.stream_id ="
        " (SELECT MAX(n.stream_id) FROM e2e_cross_signing_keys AS n WHERE n.user_id = k.user_id AND n.keytype = 'master')"
        " ORDER BY k.user_id LIMIT ?",
        (after, USERS_A_REQUEST),
    )
    rows = txn.fetchall()
    found = {str(user_id): _public_key(keydata) for user_id, keydata in rows}
    masters = {user_id: key for user_id, key in found.items() if key is not None}
    return masters, str(rows[-1][0]) if len(rows) == USERS_A_REQUEST else None


def _public_key(keydata: Any) -> str | None:
    """The key in a cross-signing key as Synapse stores it; None where it is no such thing."""
    try:
        [(name, key)] = json.loads(keydata)["keys"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return key.rstrip("=") if isinstance(key, str) and str(name).startswith("ed25519:") else None
