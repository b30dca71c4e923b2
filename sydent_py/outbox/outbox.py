"""The one door into the outbox."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from sydent_py.clock import Clock
from sydent_py.identifiers import UserId
from sydent_py.outbox import models
from sydent_py.sealing import Sealer

Kind = Literal["onbind", "invite_mail", "removal_mail", "displaced_mail", "keys_mail", "keys_text"]


@dataclass(frozen=True)
class Outbox:
    """Takes in messages, each in the transaction of what it tells about: neither is there without the other."""

    sealer: Sealer
    clock: Clock

    def put(self, db: Connection, kind: Kind, content: Mapping[str, Any], *, destination: str, user: UserId) -> None:
        """Queue ``content`` (JSON) for delivery to ``destination``, on behalf of ``user``.

        Messages of one kind to one destination are delivered one after the other, those to others meanwhile.
        """
        models.add(
            db,
            kind=kind,
            destination=destination,
            user_id=str(user),
            content=self.sealer.seal(json.dumps(content), "outbox.content"),
            now_ms=self.clock.now_ms(),
        )

    def forget(self, db: Connection, user: UserId) -> None:
        """Delete what waits on behalf of ``user``."""
        models.remove_of(db, str(user))
