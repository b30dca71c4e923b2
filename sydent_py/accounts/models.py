"""Accounts, their access tokens, and the terms they accepted."""

from collections.abc import Iterable

from sqlalchemy import Connection, ForeignKey, Row, bindparam, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from sydent_py.database import Base, insert


class Account(Base):
    """A Matrix user who has registered. ``terms_accepted`` names the set of policies that was found accepted."""

    __tablename__ = "accounts"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    created_at_ms: Mapped[int]
    terms_accepted: Mapped[str | None]


class AccessToken(Base):
    """A token an account may act with, stored as its SHA-256."""

    __tablename__ = "access_tokens"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(Account.user_id, ondelete="CASCADE"), index=True)
    created_at_ms: Mapped[int]


class AcceptedTerms(Base):
    """A policy URL that an account has accepted."""

    __tablename__ = "accepted_terms"

    user_id: Mapped[str] = mapped_column(ForeignKey(Account.user_id, ondelete="CASCADE"), primary_key=True)
    url: Mapped[str] = mapped_column(primary_key=True)


# Built once: building it takes longer than running it, and every request does.
_BY_TOKEN = (
    select(Account.user_id, Account.terms_accepted)
    .join_from(AccessToken, Account)
    .where(AccessToken.token_hash == bindparam("token_hash"))
)


def add_token(db: Connection, user_id: str, token_hash: bytes, now_ms: int) -> None:
    """Store a token, and the account where it is new."""
    account = insert(db, Account).values(user_id=user_id, created_at_ms=now_ms)
    # Not "do nothing": an account that is there must stay there until the token is written.
    same = {"created_at_ms": Account.created_at_ms}
    db.execute(account.on_conflict_do_update(index_elements=["user_id"], set_=same))
    db.execute(insert(db, AccessToken).values(token_hash=token_hash, user_id=user_id, created_at_ms=now_ms))


def by_token(db: Connection, token_hash: bytes) -> Row[str, str | None] | None:
    """The user ID and accepted terms of the account a token belongs to."""
    return db.execute(_BY_TOKEN, {"token_hash": token_hash}).one_or_none()


def delete_token(db: Connection, token_hash: bytes) -> bool:
    """Revoke one token: whether there was one."""
    return db.execute(delete(AccessToken).where(AccessToken.token_hash == token_hash)).rowcount > 0


def hold(db: Connection, user_id: str) -> bool:
    """Whether there is such an account, which then stays until this transaction ends. SQLite's writers are alone anyway."""
    statement = select(Account.user_id).where(Account.user_id == user_id).with_for_update(read=True, key_share=True)
    return db.execute(statement).one_or_none() is not None


def delete_account(db: Connection, user_id: str) -> int:
    """Delete an account and all that depends on it: how many tokens it had."""
    locked = select(Account.user_id).where(Account.user_id == user_id).with_for_update()
    db.execute(locked)
    tokens = db.execute(delete(AccessToken).where(AccessToken.user_id == user_id)).rowcount
    db.execute(delete(Account).where(Account.user_id == user_id))
    return tokens


def accept(db: Connection, user_id: str, urls: Iterable[str]) -> None:
    """Remember that the account accepted ``urls``."""
    for url in urls:
        db.execute(insert(db, AcceptedTerms).values(user_id=user_id, url=url).on_conflict_do_nothing())


def accepted(db: Connection, user_id: str) -> frozenset[str]:
    """Every URL the account has ever accepted."""
    return frozenset(db.execute(select(AcceptedTerms.url).where(AcceptedTerms.user_id == user_id)).scalars())


def set_terms_accepted(db: Connection, user_id: str, version: str) -> None:
    """Note that the account has accepted the set of policies named ``version``."""
    db.execute(update(Account).where(Account.user_id == user_id).values(terms_accepted=version))
