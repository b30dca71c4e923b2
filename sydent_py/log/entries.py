"""The log's entries as the operator sees them: with what they are about, and whether that is what was logged."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from unpaddedbase64 import encode_base64

from sydent_py.database import Database
from sydent_py.errors import MatrixError, NotFound
from sydent_py.identifiers import ThreePid
from sydent_py.log import models, sealed
from sydent_py.log.leaf import Leaf, commit
from sydent_py.log.published import PublishedLog
from sydent_py.sealing import SealBroken, Sealer
from sydent_py.strict_json import parse_object
from sydent_py.tlog.checkpoint import Unsigned
from sydent_py.tlog.text import Malformed


@dataclass(frozen=True)
class Shown:
    """An entry, and what it is about.

    ``index`` is None while it waits. ``payload`` is None where it was erased, and where it cannot be read. ``fits`` says whether the
    payload is what the commitment was made from, None where it was erased; ``is_in_tree`` whether the published checkpoint
    covers this very entry at this place, None where it has not come so far.
    """

    index: int | None
    leaf: Leaf
    payload: dict[str, Any] | None
    fits: bool | None
    is_in_tree: bool | None

    @property
    def is_erased(self) -> bool:
        """Whether what it is about was erased."""
        return self.fits is None

    @property
    def is_sound(self) -> bool:
        """Whether nothing about it was changed since it was logged."""
        return self.fits is not False and self.is_in_tree is not False

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "index": self.index,
            "kind": self.leaf.kind,
            "ts": self.leaf.ts,
            "commitment": encode_base64(self.leaf.commitment),
            "erased": self.is_erased,
            "payload": self.payload,
            "fits_commitment": self.fits,
            "in_tree": self.is_in_tree,
        }


@dataclass(frozen=True)
class Entries:
    """Finds entries of this server's own log, and reads what is sealed in them."""

    database: Database
    sealer: Sealer
    published: PublishedLog

    def of_commitment(self, commitment: bytes) -> list[Shown]:
        """The entry with this commitment, if there is one."""
        with self.database.autocommit() as db:
            row = models.entry(db, commitment) or models.waits(db, commitment)
        return [] if row is None else [self._shown(row)]

    def about(self, threepid: ThreePid) -> list[Shown]:
        """Every entry about an address that was not erased, the oldest first."""
        with self.database.autocommit() as db:
            rows = self._about(db, threepid)
        return [self._shown(row) for row in rows]

    def _about(self, db: Connection, threepid: ThreePid) -> list[Any]:
        return models.about(db, sealed.address_index(self.sealer, threepid.medium, threepid.address))

    def _shown(self, row: Any) -> Shown:
        index, leaf = getattr(row, "entry_index", None), Leaf(row.kind, row.ts, row.commitment)
        payload, fits = self._payload(row)
        return Shown(index, leaf, payload, fits, None if index is None else self._is_in_tree(index, leaf))

    def _payload(self, row: Any) -> tuple[dict[str, Any] | None, bool | None]:
        """The payload, and whether the commitment was made from it."""
        if row.nonce is None and row.payload is None:
            return None, None
        try:
            nonce, encoded = sealed.nonce_of(self.sealer, row), sealed.payload_of(self.sealer, row)
            return parse_object(encoded), commit(nonce, encoded) == row.commitment
        except (SealBroken, ValueError, MatrixError):
            return None, False

    def _is_in_tree(self, index: int, leaf: Leaf) -> bool | None:
        try:
            proof = self.published.proof(leaf.commitment)
            return proof.index == index and proof.proves(leaf.encode(), self.published.verifier_key)
        except NotFound:
            return None
        except (MatrixError, Malformed, Unsigned):
            return False
