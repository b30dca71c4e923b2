"""Making the log forget what its entries were about, while the tree still verifies."""

from dataclasses import dataclass

from sqlalchemy import Connection
from unpaddedbase64 import encode_base64

from sydent_py.database import chunks
from sydent_py.identifiers import UserId
from sydent_py.log import models
from sydent_py.log.append import Log
from sydent_py.signing import Signer

# So many commitments fit into one payload.
COMMITMENTS_PER_ENTRY = 100


@dataclass(frozen=True)
class EraseHistory:
    """Blanks the payloads of entries, and has the log say which, so that whoever follows it blanks them, too."""

    log: Log
    signer: Signer

    def __call__(self, db: Connection, user: UserId) -> int:
        """Erase what the log holds about ``user``, in the caller's transaction: from how many entries.

        Leaves and tree stay as they are. An ``erase`` entry is ``{"erased": [<commitment>, ...], "ts": <ms>}``, signed.
        """
        commitments = models.blank(db, self.log.user_index(str(user)))
        for some in chunks(commitments, COMMITMENTS_PER_ENTRY):
            erased = {"erased": [encode_base64(commitment) for commitment in some], "ts": self.log.clock.now_ms()}
            self.log.append(db, "erase", self.signer.sign(erased))
        return len(commitments)
