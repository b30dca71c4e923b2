"""The one door into the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from canonicaljson import encode_canonical_json
from sqlalchemy import Connection

from sydent_py import tokens
from sydent_py.clock import Clock
from sydent_py.log import models
from sydent_py.sealing import Sealer

Kind = Literal["bind", "unbind"]

MAX_PAYLOAD_BYTES = 8192
NONCE_BYTES = 32


@dataclass(frozen=True)
class Log:
    """Takes in what the server vouches for."""

    sealer: Sealer
    clock: Clock

    def append(self, db: Connection, kind: Kind, payload: Mapping[str, Any]) -> None:
        """Queue ``payload``, an object this server has signed, for the log, in the caller's transaction.

        A binding without its log entry cannot exist, because both are written or neither is. Raises ``ValueError`` for a
        payload over 8 KiB of canonical JSON: everything in it was bounded long before it came here.
        """
        encoded = encode_canonical_json(dict(payload))
        if len(encoded) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"a log payload of {len(encoded)} bytes")
        models.add(
            db,
            kind=kind,
            ts=self.clock.now_ms(),
            nonce=self.sealer.seal(tokens.random_bytes(NONCE_BYTES).hex(), "log.nonce"),
            payload=self.sealer.seal(encoded.decode(), "log.payload"),
        )
