"""An address and whose it is."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Binding:
    """An address, in whichever spelling, and the user it belongs to."""

    medium: str
    address: str
    user_id: str

    @property
    def key(self) -> tuple[str, str, str]:
        """As our table is sorted."""
        return self.medium, self.address, self.user_id

    @property
    def hash(self) -> bytes:
        """SHA-256 of the three with spaces between them."""
        return hashlib.sha256(f"{self.medium} {self.address} {self.user_id}".encode()).digest()

    @property
    def bucket(self) -> str:
        """The first two hexadecimal digits of the hash."""
        return self.hash[:1].hex()
