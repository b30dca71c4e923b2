"""What becomes of invitations after they are stored: accepted, revoked, expired, or erased."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.identifiers import ServerName, ThreePid, UserId
from sydent_py.invites import models
from sydent_py.invites.store import address_index
from sydent_py.sealing import Sealer, hash_token
from sydent_py.signing import Signer


@dataclass(frozen=True)
class Invites:
    """The invitations that are stored."""

    database: Database
    signer: Signer
    sealer: Sealer
    clock: Clock

    def accept(self, db: Connection, threepid: ThreePid, user: UserId) -> list[dict[str, Any]]:
        """The invitations to ``threepid``, each with what lets ``user`` join, for no one else from here on.

        Each is in the form of the Server-Server API (``PUT /3pid/onbind``). ``signed`` has exactly one signature, by the key
        that the room's event names: homeservers try no other. An invitation whose key is gone stays where it is.
        """
        invites = self._waiting(db, threepid, user)
        models.accept(db, [invite.token_hash for invite in invites], str(user))
        return [self._accepted(invite, threepid, user) for invite in invites]

    def waiting(self, db: Connection, threepid: ThreePid, user: UserId) -> list[dict[str, Any]]:
        """What ``accept`` gives, and nothing is changed by it."""
        return [self._accepted(invite, threepid, user) for invite in self._waiting(db, threepid, user)]

    def _waiting(self, db: Connection, threepid: ThreePid, user: UserId) -> list[Any]:
        index = address_index(self.sealer, threepid)
        return models.pending(db, index, str(user), self.signer.public_keys, self.clock.now_ms())

    def _accepted(self, invite: Any, threepid: ThreePid, user: UserId) -> dict[str, Any]:
        token = self.sealer.unseal(invite.token, "invites.token")
        signed = {"mxid": str(user), "sender": invite.sender, "token": token}
        return {
            "medium": threepid.medium,
            "address": threepid.address,
            "mxid": str(user),
            "sender": invite.sender,
            "room_id": invite.room_id,
            "token": token,
            "signed": self.signer.sign(signed, invite.server_key),
        }

    def note_told(self, db: Connection, tokens: Sequence[str]) -> None:
        """Note that a homeserver knows of these invitations. A second notification would undo how its user has answered."""
        models.note_told(db, [hash_token(token) for token in tokens], self.clock.now_ms())

    def revoke(self, homeserver: ServerName, token: str) -> None:
        """End an invitation at the wish of its sender's homeserver. One that is not there, or another's, is no error."""
        with self.database.begin() as db:
            invite = models.get(db, hash_token(token), self.clock.now_ms())
            if invite is not None and UserId.parse(invite.sender).server == homeserver:
                models.remove(db, invite.token_hash)

    def is_untold(self, db: Connection, token: str) -> bool:
        """Whether an invitation has neither ended nor been revoked, and neither a homeserver nor a client acts on it yet."""
        invite = models.get(db, hash_token(token), self.clock.now_ms())
        return invite is not None and invite.told_at_ms is None

    def addressed_to(self, db: Connection, threepids: Sequence[ThreePid], user: UserId) -> list[dict[str, Any]]:
        """The invitations that wait for any of ``threepids``, and those that ``user`` was told of."""
        indexes = [address_index(self.sealer, threepid) for threepid in threepids]
        return [self._described(invite) for invite in models.addressed_to(db, indexes, str(user), self.clock.now_ms())]

    def _described(self, invite: Any) -> dict[str, Any]:
        return {
            "medium": invite.medium,
            "address": self.sealer.unseal(invite.address, "invites.address"),
            "room_id": invite.room_id,
            "sender": invite.sender,
            "created_ts": invite.created_at_ms,
            "expires_ts": invite.expires_at_ms,
        }

    def forget(self, db: Connection, threepids: Sequence[ThreePid], user: UserId) -> int:
        """Delete the invitations to any of ``threepids``, and those that ``user`` sent or was told of: how many."""
        return models.remove_of(db, [address_index(self.sealer, threepid) for threepid in threepids], str(user))

    def forget_expired(self, db: Connection) -> None:
        """Delete the invitations that have ended."""
        models.forget_expired(db, self.clock.now_ms())

    def lost_keys(self, db: Connection) -> list[str]:
        """The keys that invitations name and this server has no more: nobody can accept those."""
        return [key for key in models.server_keys(db, self.clock.now_ms()) if not self.signer.owns(key)]
