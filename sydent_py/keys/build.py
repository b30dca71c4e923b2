"""Published keys, made of their parts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from sydent_py.bindings.register import AddressRegister
from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.directory.lookup import Lookup
from sydent_py.keys.notices import KeyNotices
from sydent_py.keys.published import PublishedKeys
from sydent_py.keys.register import KeyRegister
from sydent_py.keys.statements import MakeStatement
from sydent_py.log.append import Log
from sydent_py.log.erase import EraseHistory
from sydent_py.log.published import PublishedLog
from sydent_py.outbox.outbox import Outbox
from sydent_py.rate_limits import RateLimits
from sydent_py.sealing import Sealer
from sydent_py.signing import Signer


@dataclass(frozen=True)
class Keys:
    """The keys that users publish. ``spend`` counts one of a budget."""

    statements: MakeStatement
    published: PublishedKeys
    register: KeyRegister
    spend: Callable[[str, str], None]


@dataclass(frozen=True)
class Builder:
    """What published keys are made of. ``addresses`` knows whom to tell."""

    database: Database
    addresses: AddressRegister
    log: Log
    signer: Signer
    sealer: Sealer
    clock: Clock
    rate_limits: RateLimits
    outbox: Outbox
    erase_history: EraseHistory

    @cached_property
    def register(self) -> KeyRegister:
        """What every origin's log says."""
        return KeyRegister(self.sealer, self.clock, self.signer.server_name)

    @cached_property
    def notices(self) -> KeyNotices:
        """What people are told."""
        return KeyNotices(self.addresses, self.outbox, self.sealer)

    @cached_property
    def statements(self) -> MakeStatement:
        """What people state."""
        return MakeStatement(
            database=self.database,
            register=self.register,
            log=self.log,
            signer=self.signer,
            clock=self.clock,
            rate_limits=self.rate_limits,
            erase_history=self.erase_history,
            notices=self.notices,
        )

    def keys(self, published_log: PublishedLog, lookup: Lookup, followed: Mapping[str, str]) -> Keys:
        """All there is to do with keys; ``followed`` are the names of the logs that are followed, by origin."""
        logs = {self.signer.server_name: self.log.origin, **followed}
        published = PublishedKeys(self.database, self.register, published_log, lookup, logs)
        return Keys(self.statements, published, self.register, self.rate_limits.spend)
