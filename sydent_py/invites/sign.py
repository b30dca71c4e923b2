"""Signing for an invitation with the key from its mail (``POST /sign-ed25519``)."""

import hmac
from dataclasses import dataclass
from typing import Any

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import Unrecognized
from sydent_py.identifiers import UserId
from sydent_py.invites import models
from sydent_py.sealing import hash_token
from sydent_py.signing import EphemeralKey, decode_bytes


@dataclass(frozen=True)
class SignInvite:
    """Lets whoever holds both secrets of a mail accept its invitation as any Matrix user."""

    database: Database
    clock: Clock
    server_name: str

    def __call__(self, mxid: UserId, token: str, private_key: str) -> dict[str, Any]:
        """``mxid``, ``sender`` and ``token``, signed with ``private_key`` in this server's name.

        ``Unrecognized`` alike for an unknown token, an invitation that has ended, and a key of another one.
        """
        with self.database.autocommit() as db:
            invite = models.get(db, hash_token(token), self.clock.now_ms())
        key = EphemeralKey.parse(private_key)
        if invite is None or key is None or not hmac.compare_digest(key.public_key, invite.ephemeral_key):
            raise Unrecognized("There is no such invitation, or it has ended.")
        return key.sign(self.server_name, {"mxid": str(mxid), "sender": invite.sender, "token": token})

    def follow(self, mxid: UserId, token: str, private_key: str) -> dict[str, Any]:
        """The same for a client that has followed the link of the mail, and joins with it at once.

        Its homeserver is not told when the address is bound later: that would make an invited user of one who has joined.
        """
        signed = self(mxid, token, private_key)
        with self.database.begin() as db:
            models.accept(db, [hash_token(token)], str(mxid))
            models.note_told(db, [hash_token(token)], self.clock.now_ms())
        return signed

    def is_valid(self, public_key: str) -> bool:
        """Whether ``public_key`` is the ephemeral key of an invitation that lasts (``GET /pubkey/ephemeral/isvalid``)."""
        key = decode_bytes(public_key)
        if key is None:
            return False
        with self.database.autocommit() as db:
            return models.names_ephemeral_key(db, key, self.clock.now_ms())
