"""Which IP addresses a request that a stranger caused may go to: globally routable unicast, whatever it is wrapped in."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from sydent_py.identifiers import IpAddress, Network

# The lists are ours, not ``is_global``: Python 3.11 takes multicast, 192.88.99.0/24, fec0::/10 and every wrapped
# address for global, and its answers change from one version to the next. IANA's special-purpose registries, 2025.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, where clouds keep their metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# Unicast is allocated from 2000::/3 alone; loopback, private, link-local, site-local and multicast lie outside it.
_ALLOCATED_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = (
    IPv6Network("2001::/23"),  # protocol assignments, benchmarks, ORCHID
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation
)

# IPv4-compatible, IPv4-mapped and NAT64 end in the IPv4 address. The local-use NAT64 prefix 64:ff9b:1::/48 may hold one
# in any of four places; it is not globally routable, and so refused without looking inside.
_ENDS_IN_V4 = (IPv6Network("::/96"), IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")

_LOOPBACK_V4, _LOOPBACK_V6 = IPv4Address("127.0.0.1"), IPv6Address("::1")


def is_permitted(address: IpAddress, allow_networks: Sequence[Network] = ()) -> bool:
    """Whether a connection to ``address`` may be opened.

    An address inside one of ``allow_networks``, as it stands or unwrapped, is permitted. Every other one has to be
    globally routable unicast, and where it wraps IPv4 addresses, so do they. A network that holds 127.0.0.1 allows
    ``::1`` too: ``localhost`` means both, and an operator who opens one has opened this machine.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    if any(address in network for network in allow_networks):
        return True
    if address == _LOOPBACK_V6:
        return any(_LOOPBACK_V4 in network for network in allow_networks)
    wrapped = _wrapped(address)
    if wrapped:
        return all(is_permitted(inner, allow_networks) for inner in wrapped)
    return _is_public(address)


def _is_public(address: IpAddress) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _ALLOCATED_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def _wrapped(address: IpAddress) -> list[IPv4Address]:
    """The IPv4 addresses that a packet to this IPv6 address may end at."""
    packed = address.packed
    if any(address in network for network in _ENDS_IN_V4):
        return [IPv4Address(packed[12:])]
    if address in _SIX_TO_FOUR:
        return [IPv4Address(packed[2:6])]
    if address in _TEREDO:
        return [IPv4Address(packed[4:8]), IPv4Address(bytes(byte ^ 0xFF for byte in packed[12:]))]
    return []
