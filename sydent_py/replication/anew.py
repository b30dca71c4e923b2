"""Following a peer from its first entry again."""

from sydent_py.database import Database
from sydent_py.replication import models
from sydent_py.replication.peers import Peer
from sydent_py.replication.registers import Registers

UNFINISHED = "beginning anew was cut short: sydent-py peers resync goes on with it"


def begin_anew(database: Database, registers: Registers, peer: Peer, *, evidence: bytes | None = None) -> None:
    """Forget all that a peer has said, and how far it was followed. ``evidence`` against it stays on record.

    A worker may run meanwhile. It takes over nothing until all is forgotten: what came sooner would be forgotten too.
    """
    with database.begin() as db:
        models.suspend(db, peer.name, UNFINISHED)
    registers.forget_origin(database, peer.name)
    with database.begin() as db:
        models.forget(db, peer.name)
        if evidence:
            models.begin(db, peer.name, log_key=str(peer.log_key), scope=peer.scope_text)
            models.note(db, peer.name, evidence=evidence)
