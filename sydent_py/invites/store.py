"""Storing an invitation to an address that nobody has bound (``POST /store-invite``)."""

from dataclasses import dataclass

from sqlalchemy import Connection
from unpaddedbase64 import encode_base64

from sydent_py import tokens
from sydent_py.accounts import presence
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.directory.lookup import Lookup
from sydent_py.directory.publish import Directory
from sydent_py.errors import Forbidden, ThreePidInUse, Unauthorized
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.invites import models
from sydent_py.outbox.outbox import Outbox
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import Sealer, hash_token
from sydent_py.signing import EphemeralKey, Signer


@dataclass(frozen=True)
class Invitation:
    """Who invites whom to what; the names are a stranger's words."""

    sender: str
    threepid: ThreePid
    room_id: str
    room_name: str = ""
    room_alias: str = ""
    room_type: str = ""
    sender_name: str = ""


@dataclass(frozen=True)
class StoredInvite:
    """What the homeserver puts into the room: a token, the keys that may sign for it, and a hint at the address."""

    token: str
    server_key: str
    ephemeral_key: str
    display_name: str


@dataclass(frozen=True)
class Blocked:
    """Whose invitations are refused (user IDs, or server names for all users there), and who gets no mail about them
    (addresses, or domains for all addresses there).
    """

    senders: frozenset[str]
    recipients: frozenset[str]

    def is_sender(self, user: UserId) -> bool:
        """Whether ``user`` may invite nobody, however its homeserver spells its own name."""
        localpart, _, server = str(user).partition(":")
        return bool(self.senders & {f"{localpart}:{server.lower()}", server.lower(), user.server.host.lower()})

    def is_recipient(self, threepid: ThreePid) -> bool:
        """Whether mail to ``threepid`` is not wanted."""
        return bool(self.recipients & {threepid.address, threepid.address.rpartition("@")[2]})


@dataclass(frozen=True)
class StoreInvite:
    """Keeps an invitation until the address is bound, and has a mail sent about it."""

    database: Database
    directory: Directory
    lookup: Lookup
    outbox: Outbox
    signer: Signer
    sealer: Sealer
    rate_limits: RateLimits
    clock: Clock
    blocked: Blocked
    lifetime_ms: int

    def __call__(self, account: UserId, invitation: Invitation) -> StoredInvite:
        """Store ``invitation``, which the account must send itself.

        Raises ``Unauthorized`` (403), ``Forbidden`` for a blocked sender, ``ThreePidInUse``, which counts as a lookup, and
        ``LimitExceeded``. Whether the recipient wants no mail changes nothing that the sender can see.
        """
        if invitation.sender != str(account):
            raise Unauthorized("You can send invitations in the name of your own Matrix user ID alone.", status=403)
        if self.blocked.is_sender(account):
            raise Forbidden("This server takes no invitations from your account.")
        self.lookup.charge(account, 1)
        with self.database.autocommit() as db:
            self._refuse_bound(db, invitation.threepid)
        self._spend_budgets(account, invitation)
        token, key = tokens.new_token(), EphemeralKey.new()
        with self.database.begin() as db:
            presence.require(db, account)
            self.directory.lock(db, invitation.threepid)
            self._refuse_bound(db, invitation.threepid)
            self._store(db, invitation, token, key)
            # Also where the recipient wants none: whether it is sent must not show here, and is decided when it would be.
            self._queue_mail(db, account, invitation, token, key)
        return StoredInvite(
            token, self.signer.public_keys[0], encode_base64(key.public_key), redact(invitation.threepid.address)
        )

    def _refuse_bound(self, db: Connection, threepid: ThreePid) -> None:
        owner = self.directory.find(db, threepid)
        if owner is not None:
            raise ThreePidInUse(mxid=owner)

    def _spend_budgets(self, account: UserId, invitation: Invitation) -> None:
        """From the sender's to the recipient's, so that a refused sender uses up nobody else's."""
        homeserver = account.server.host.lower()
        self.rate_limits.spend("invite_per_sender", str(account))
        self.rate_limits.spend("invite_per_homeserver", homeserver)
        # Of each homeserver its own, because nobody here knows who is in the room.
        self.rate_limits.spend("invite_per_room", f"{homeserver} {invitation.room_id}")
        self.rate_limits.spend("invite_per_recipient", str(invitation.threepid.mailbox))
        self.rate_limits.spend("invite_overall")

    def _store(self, db: Connection, invitation: Invitation, token: str, key: EphemeralKey) -> None:
        threepid, now_ms = invitation.threepid, self.clock.now_ms()
        models.add(
            db,
            token_hash=hash_token(token),
            token=self.sealer.seal(token, "invites.token"),
            medium=threepid.medium,
            address=self.sealer.seal(threepid.address, "invites.address"),
            address_index=address_index(self.sealer, threepid),
            room_id=invitation.room_id,
            sender=invitation.sender,
            server_key=self.signer.public_keys[0],
            ephemeral_key=key.public_key,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + self.lifetime_ms,
        )

    def _queue_mail(self, db: Connection, account: UserId, invitation: Invitation, token: str, key: EphemeralKey) -> None:
        """The private key is nowhere else, and gone with the mail."""
        content = {
            "token": token,
            "private_key": key.private_key,
            "room_name": invitation.room_name,
            "room_alias": invitation.room_alias,
            "room_type": invitation.room_type,
            "sender_name": invitation.sender_name,
        }
        destination = self.sealer.pseudonym(invitation.threepid.address)
        self.outbox.put(db, "invite_mail", content, destination=destination, user=account)


def address_index(sealer: Sealer, threepid: ThreePid) -> bytes:
    """How the invitations to an address are found."""
    return sealer.index("invites.address", threepid.medium, threepid.address)


def redact(address: str) -> str:
    """A hint at an email address for everyone in a room: ``foo@example.org`` is ``f...@e...``."""
    local, _, domain = address.rpartition("@")
    return f"{_first(local)}...@{_first(domain)}..."


def _first(part: str) -> str:
    """The first character, where it is not all there is."""
    return part[0] if len(part) > 1 else ""
