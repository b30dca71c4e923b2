"""What entries of the log are about, for trusted peers alone."""

from dataclasses import dataclass
from typing import Any

from unpaddedbase64 import encode_base64

from sydent_py.database import Database
from sydent_py.log import models, sealed
from sydent_py.sealing import Sealer
from sydent_py.strict_json import parse_object

MAX_PAYLOADS = 256


@dataclass(frozen=True)
class Payloads:
    """Reads payloads and nonces of entries that are published."""

    database: Database
    sealer: Sealer

    def __call__(self, first_index: int, limit: int) -> list[dict[str, Any] | None]:
        """``{"nonce": <base64>, "payload": {...}}`` of each entry from ``first_index`` on, None for an erased one.

        At most ``limit``, and at most 256; fewer at the end of the log.
        """
        with self.database.autocommit() as db:
            end = min(first_index + min(limit, MAX_PAYLOADS), models.head(db).published_size)
            rows = models.payloads(db, first_index, end)
        return [self._opened(row) for row in rows]

    def _opened(self, row: Any) -> dict[str, Any] | None:
        if row.payload is None:
            return None
        return {
            "nonce": encode_base64(sealed.nonce_of(self.sealer, row)),
            "payload": parse_object(sealed.payload_of(self.sealer, row)),
        }
