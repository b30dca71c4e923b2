"""Following a peer from its first entry again."""

from sydent_py.bindings.register import AddressRegister
from sydent_py.database import Database
from sydent_py.replication import models

UNFINISHED = "beginning anew was cut short: sydent-py peers resync goes on with it"


def begin_anew(database: Database, register: AddressRegister, name: str) -> None:
    """Forget all that a peer has said, and how far it was followed.

    A worker may run meanwhile. It takes over nothing until all is forgotten: what came sooner would be forgotten too.
    """
    with database.begin() as db:
        models.note(db, name, is_stopped=True, error=UNFINISHED)
    register.forget_origin(database, name)
    with database.begin() as db:
        models.forget(db, name)
