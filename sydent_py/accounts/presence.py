"""Whether an account is still there when its request comes to write."""

from sqlalchemy import Connection

from sydent_py.accounts import models
from sydent_py.errors import Unauthorized
from sydent_py.identifiers import UserId


def require(db: Connection, account: UserId) -> None:
    """Keep the account from being erased until this transaction ends; ``Unauthorized`` where it was, a moment ago.

    Every transaction that writes for an account begins with it, and erasing begins with the account: so nothing of an
    account is written once it is erased, and both take their locks in one order.
    """
    if not models.hold(db, str(account)):
        raise Unauthorized
