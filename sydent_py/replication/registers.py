"""What is known of each origin."""

from dataclasses import dataclass

from sydent_py.bindings.register import AddressRegister
from sydent_py.database import Database
from sydent_py.keys.register import KeyRegister


@dataclass(frozen=True)
class Registers:
    """Everything that the entries of a log can change."""

    addresses: AddressRegister
    keys: KeyRegister

    def forget_origin(self, database: Database, origin: str) -> None:
        """Forget all that an origin says, in as many transactions as it takes."""
        self.addresses.forget_origin(database, origin)
        self.keys.forget_origin(database, origin)
