"""Making the log forget what its entries were about, while the tree still verifies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from unpaddedbase64 import encode_base64

from sydent_py.database import chunks
from sydent_py.identifiers import UserId
from sydent_py.log import models, sealed
from sydent_py.log.append import Log
from sydent_py.log.leaf import Kind
from sydent_py.signing import Signer
from sydent_py.strict_json import parse_object

# So many commitments fit into one payload.
COMMITMENTS_PER_ENTRY = 100


@dataclass(frozen=True)
class Forgotten:
    """An entry that is being erased. ``index`` is None while it waits for its place."""

    kind: str
    index: int | None
    commitment: bytes
    payload: dict[str, Any]


def _nobody(_db: Connection, _forgotten: Sequence[Forgotten]) -> None:
    """Everybody learns from the log."""


@dataclass(frozen=True)
class EraseHistory:
    """Blanks the payloads of entries, and has the log say which, so that whoever follows it blanks them, too.

    ``notify`` is told beforehand, in the same transaction, for those who learn from no log.
    """

    log: Log
    signer: Signer
    notify: Callable[[Connection, Sequence[Forgotten]], None] = _nobody

    def __call__(self, db: Connection, user: UserId, kinds: Sequence[Kind] | None = None) -> int:
        """Erase what the log holds about ``user``, in the caller's transaction: from how many entries.

        ``kinds`` are the kinds of entries, where it is not all of them.

        Leaves and tree stay as they are. An ``erase`` entry is ``{"erased": [<commitment>, ...], "ts": <ms>}``, signed.
        """
        user_index = sealed.user_index(self.log.sealer, str(user))
        self.notify(db, [self._forgotten(row) for row in models.of_user(db, user_index, kinds)])
        commitments = models.blank(db, user_index, kinds)
        for some in chunks(commitments, COMMITMENTS_PER_ENTRY):
            erased = {"erased": [encode_base64(commitment) for commitment in some], "ts": self.log.clock.now_ms()}
            self.log.append(db, "erase", self.signer.sign(erased))
        return len(commitments)

    def _forgotten(self, row: Any) -> Forgotten:
        payload = parse_object(sealed.payload_of(self.log.sealer, row))
        return Forgotten(row.kind, row.entry_index, row.commitment, payload)
