"""Finding the servers behind a Matrix server name (Server-Server API, "Resolving server names")."""

from dataclasses import dataclass
from itertools import groupby

from dns.exception import DNSException
from dns.rdtypes.IN.SRV import SRV
from dns.resolver import NoResolverConfiguration, Resolver

from sydent_py.clock import Deadline
from sydent_py.errors import InvalidParam
from sydent_py.federation.transport import Destination, Reason, RequestFailed
from sydent_py.federation.well_known import WellKnown
from sydent_py.identifiers import ServerName
from sydent_py.tokens import weighted_order

FEDERATION_PORT = 8448
# The second one is deprecated, and what most records are still published under.
SRV_SERVICES = ("_matrix-fed._tcp", "_matrix._tcp")
MAX_SRV_TARGETS = 4
SRV_TIMEOUT_S = 1.5


@dataclass(frozen=True)
class Discovery:
    """From a server name to destinations."""

    well_known: WellKnown
    resolver: Resolver

    def destinations(self, server: ServerName, deadline: Deadline) -> list[Destination]:
        """Where to try to reach ``server``, in this order; at least one.

        The certificate and the Host header are those of the name itself or of the name it delegates to, never of what an
        SRV record points at. Raises ``RequestFailed`` where DNS says that there is no such service.
        """
        if server.ip is None and server.port is None:
            server = self.well_known.delegated(server.host, deadline) or server
        if server.ip is not None or server.port is not None:
            return [Destination.of(server, server.port or FEDERATION_PORT)]
        for service in SRV_SERVICES:
            if records := self._srv_records(f"{service}.{server.host}.", deadline):
                return _srv_destinations(server, records)
        return [Destination.of(server, FEDERATION_PORT)]

    def _srv_records(self, name: str, deadline: Deadline) -> list[SRV]:
        """The records of ``name``; none also where DNS does not answer, because port 8448 remains to be tried."""
        lifetime_s = min(SRV_TIMEOUT_S, deadline.remaining_s())
        if lifetime_s <= 0:
            raise RequestFailed(Reason.TIMEOUT)
        try:
            return list(self.resolver.resolve(name, "SRV", lifetime=lifetime_s, search=False))
        except DNSException:
            return []


def system_resolver(configuration: str = "/etc/resolv.conf") -> Resolver:
    """A resolver that uses the system's name servers; without any, every lookup fails at once."""
    try:
        return Resolver(configuration)
    except NoResolverConfiguration:
        return Resolver(configure=False)


def _srv_destinations(server: ServerName, records: list[SRV]) -> list[Destination]:
    destinations = [
        Destination.of(server, record.port, dial) for record in _in_order(records) if (dial := _target(record)) is not None
    ]
    if not destinations:
        raise RequestFailed(Reason.UNREACHABLE, "DNS says that there is no such service")
    return destinations[:MAX_SRV_TARGETS]


def _in_order(records: list[SRV]) -> list[SRV]:
    """By priority, and at random by weight where that is equal (RFC 2782)."""
    by_priority = groupby(sorted(records, key=lambda record: record.priority), key=lambda record: record.priority)
    equals = [list(group) for _, group in by_priority]
    return [record for group in equals for record in weighted_order(group, [record.weight for record in group])]


def _target(record: SRV) -> ServerName | None:
    """The host to dial; ``None`` for ``.`` (no such service), and for what a resolver might not take for a name."""
    try:
        return ServerName.parse(record.target.to_text(omit_final_dot=True))
    except InvalidParam:
        return None
