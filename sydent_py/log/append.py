"""The one door into the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from canonicaljson import encode_canonical_json
from sqlalchemy import Connection
from unpaddedbase64 import encode_base64

from sydent_py import tokens
from sydent_py.clock import Clock
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.log import models, sealed
from sydent_py.log.leaf import Kind, commit
from sydent_py.sealing import Sealer
from sydent_py.strict_json import parse_object

MAX_PAYLOAD_BYTES = 8192
NONCE_BYTES = 32


@dataclass(frozen=True)
class Receipt:
    """What whoever caused an entry needs to find it in the log and to show what it is about.

    The commitment is the SHA-256 of the nonce and the payload's canonical JSON. ``index`` is None until the entry has its place.
    """

    log: str
    kind: str
    ts: int
    commitment: bytes
    nonce: bytes
    index: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As clients get it: bytes in unpadded base64, ``ts`` in ms since the epoch."""
        place = {} if self.index is None else {"index": self.index}
        encoded = {"commitment": encode_base64(self.commitment), "nonce": encode_base64(self.nonce)}
        return {"log": self.log, "kind": self.kind, "ts": self.ts, **encoded, **place}


@dataclass(frozen=True)
class Log:
    """Takes in what the server vouches for. ``origin`` is its name."""

    origin: str
    sealer: Sealer
    clock: Clock

    def append(self, db: Connection, kind: Kind, payload: Mapping[str, Any]) -> Receipt:
        """Queue ``payload``, an object this server has signed, for the log, in the caller's transaction.

        A binding without its log entry cannot exist, because both are written or neither is. What the entry is about is read
        from ``medium`` and ``address``, and from ``mxid``. Raises ``ValueError`` for a payload over 8 KiB of canonical JSON:
        everything in it was bounded long before it came here.
        """
        encoded = encode_canonical_json(dict(payload))
        if len(encoded) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"a log payload of {len(encoded)} bytes")
        nonce = tokens.random_bytes(NONCE_BYTES)
        receipt = Receipt(self.origin, kind, self.clock.now_ms(), commit(nonce, encoded), nonce)
        models.add(
            db,
            kind=kind,
            ts=receipt.ts,
            **sealed.seal(self.sealer, nonce, encoded),
            **self._found_by(nonce, encoded, payload),
        )
        return receipt

    def complete(self, db: Connection) -> None:
        """Fill in what entries of a version that had no sequencer do not say."""
        for row in models.incomplete(db):
            nonce, encoded = sealed.nonce_of(self.sealer, row), sealed.payload_of(self.sealer, row)
            models.complete(db, row.id, **self._found_by(nonce, encoded, parse_object(encoded)))

    def _found_by(self, nonce: bytes, encoded: bytes, payload: Mapping[str, Any]) -> dict[str, bytes | None]:
        """What an entry is found by; nothing in it that is not there, as the address of an ``erase`` entry."""
        address = (payload["medium"], payload["address"]) if "address" in payload else None
        return {
            "commitment": commit(nonce, encoded),
            "address_index": sealed.address_index(self.sealer, *address) if address else None,
            "user_index": sealed.user_index(self.sealer, payload["mxid"]) if "mxid" in payload else None,
        }

    def receipt(self, db: Connection, threepid: ThreePid, user: UserId) -> Receipt | None:
        """The receipt of the newest binding of ``threepid`` to ``user``, if what it is about was not erased."""
        index = sealed.user_index(self.sealer, str(user))
        rows = models.about(db, sealed.address_index(self.sealer, threepid.medium, threepid.address))
        binds = [row for row in rows if row.kind == "bind" and row.user_index == index]
        return self._receipt(binds[-1]) if binds else None

    def _receipt(self, row: Any) -> Receipt:
        nonce = sealed.nonce_of(self.sealer, row)
        return Receipt(self.origin, row.kind, row.ts, row.commitment, nonce, getattr(row, "entry_index", None))
