"""Invitations to addresses, and the addresses that want no mail about them."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, delete, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, insert


class Invite(Base):
    """An invitation of ``address`` into a room, which ends at ``expires_at_ms``.

    Address and token are sealed, and found by their index and hash. ``server_key`` is the public key of this server that the
    room's event names, ``ephemeral_key`` the other one there; its private half is known only from the mail. ``accepted_by``
    is who has bound the address or followed the link, and ``told_at_ms`` when that had reached their homeserver.
    """

    __tablename__ = "invites"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    token: Mapped[bytes]
    medium: Mapped[str]
    address: Mapped[bytes]
    address_index: Mapped[bytes] = mapped_column(index=True)
    room_id: Mapped[str]
    sender: Mapped[str] = mapped_column(index=True)
    server_key: Mapped[str]
    ephemeral_key: Mapped[bytes] = mapped_column(index=True)
    created_at_ms: Mapped[int]
    expires_at_ms: Mapped[int] = mapped_column(index=True)
    accepted_by: Mapped[str | None] = mapped_column(index=True)
    told_at_ms: Mapped[int | None]


class OptOut(Base):
    """An address that wants no invitations by mail; the address itself is not kept."""

    __tablename__ = "invite_opt_outs"

    address_index: Mapped[bytes] = mapped_column(primary_key=True)
    created_at_ms: Mapped[int]


_COLUMNS = tuple(Invite.__table__.columns)


def add(db: Connection, **values: object) -> None:
    """Store an invitation."""
    db.execute(insert(db, Invite).values(accepted_by=None, told_at_ms=None, **values))


def get(db: Connection, token_hash: bytes, now_ms: int) -> Row[Any] | None:
    """The invitation with this token, while it lasts."""
    return db.execute(select(*_COLUMNS).where(Invite.token_hash == token_hash, Invite.expires_at_ms > now_ms)).one_or_none()


def pending(db: Connection, address_index: bytes, user_id: str, server_keys: Collection[str], now_ms: int) -> list[Row[Any]]:
    """The invitations to an address that nobody but ``user_id`` has accepted and that name one of ``server_keys``.

    Oldest first; also those it has accepted in vain, because its homeserver refused or never answered.
    """
    free = or_(Invite.accepted_by.is_(None), Invite.accepted_by == user_id)
    waiting = (Invite.address_index == address_index, free, Invite.told_at_ms.is_(None), Invite.expires_at_ms > now_ms)
    statement = select(*_COLUMNS).where(*waiting, Invite.server_key.in_(server_keys))
    return list(db.execute(statement.order_by(Invite.created_at_ms)))


def addressed_to(db: Connection, address_indexes: Collection[bytes], user_id: str, now_ms: int) -> list[Row[Any]]:
    """The invitations to any of these addresses, and those that ``user_id`` was told of, oldest first."""
    theirs = or_(Invite.address_index.in_(address_indexes), Invite.accepted_by == user_id)
    statement = select(*_COLUMNS).where(theirs, Invite.expires_at_ms > now_ms)
    return list(db.execute(statement.order_by(Invite.created_at_ms)))


def accept(db: Connection, token_hashes: Collection[bytes], user_id: str) -> None:
    """Note that ``user_id`` accepts these invitations, so that nobody else is told of them."""
    db.execute(update(Invite).where(Invite.token_hash.in_(token_hashes)).values(accepted_by=user_id))


def note_told(db: Connection, token_hashes: Collection[bytes], now_ms: int) -> None:
    """Note that whoever accepted these invitations can act on them: no homeserver is told any more."""
    db.execute(update(Invite).where(Invite.token_hash.in_(token_hashes)).values(told_at_ms=now_ms))


def names_ephemeral_key(db: Connection, public_key: bytes, now_ms: int) -> bool:
    """Whether an invitation that lasts names this ephemeral key."""
    statement = select(Invite.token_hash).where(Invite.ephemeral_key == public_key, Invite.expires_at_ms > now_ms)
    return db.execute(statement.limit(1)).one_or_none() is not None


def server_keys(db: Connection, now_ms: int) -> list[str]:
    """The keys of this server that invitations which last still name."""
    statement = select(Invite.server_key).where(Invite.expires_at_ms > now_ms).distinct()
    return list(db.execute(statement.order_by(Invite.server_key)).scalars())


def remove(db: Connection, token_hash: bytes) -> None:
    """Delete one invitation."""
    db.execute(delete(Invite).where(Invite.token_hash == token_hash))


def remove_of(db: Connection, address_indexes: Collection[bytes], user_id: str) -> int:
    """Delete the invitations to any of these addresses, and those that ``user_id`` sent or was told of: how many."""
    theirs = or_(Invite.sender == user_id, Invite.accepted_by == user_id, Invite.address_index.in_(address_indexes))
    return db.execute(delete(Invite).where(theirs)).rowcount


def forget_expired(db: Connection, now_ms: int) -> None:
    """Delete the invitations that have ended."""
    db.execute(delete(Invite).where(Invite.expires_at_ms <= now_ms))


def opt_out(db: Connection, address_index: bytes, now_ms: int) -> None:
    """Note that the address wants no mail."""
    db.execute(insert(db, OptOut).values(address_index=address_index, created_at_ms=now_ms).on_conflict_do_nothing())


def opt_in(db: Connection, address_index: bytes) -> None:
    """Take that back."""
    db.execute(delete(OptOut).where(OptOut.address_index == address_index))


def is_opted_out(db: Connection, address_index: bytes) -> bool:
    """Whether the address wants no mail."""
    return db.execute(select(OptOut.address_index).where(OptOut.address_index == address_index)).one_or_none() is not None
