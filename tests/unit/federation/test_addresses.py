"""No spelling of a private address passes for a public one, and public ones pass."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.federation.addresses import is_permitted

# Written out again, so that a network dropped from the module is missed here.
NOT_PUBLIC_V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
NOT_PUBLIC_V6 = [
    "::/128", "::1/128", "100::/64", "64:ff9b:1::/48", "2001:2::/48", "2001:10::/28", "2001:20::/28", "2001:db8::/32",
    "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "4000::/3", "8000::/1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "223.255.255.255",
          "192.0.1.0", "198.17.255.255", "198.20.0.0", "2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888"]  # fmt: skip


def mapped(v4: IPv4Address) -> IPv6Address:
    return IPv6Address(b"\0" * 10 + b"\xff\xff" + v4.packed)


def compatible(v4: IPv4Address) -> IPv6Address:
    return IPv6Address(b"\0" * 12 + v4.packed)


def nat64(v4: IPv4Address) -> IPv6Address:
    return IPv6Address(IPv6Address("64:ff9b::").packed[:12] + v4.packed)


def local_nat64(v4: IPv4Address) -> IPv6Address:
    return IPv6Address(IPv6Address("64:ff9b:1::").packed[:12] + v4.packed)


def local_nat64_48(v4: IPv4Address) -> IPv6Address:
    return IPv6Address(IPv6Address("64:ff9b:1::").packed[:6] + v4.packed[:2] + b"\0" + v4.packed[2:] + b"\0" * 5)


def six_to_four(v4: IPv4Address) -> IPv6Address:
    return IPv6Address(b"\x20\x02" + v4.packed + b"\0" * 10)


def teredo(server: IPv4Address, client: IPv4Address) -> IPv6Address:
    return IPv6Address(b"\x20\x01\0\0" + server.packed + b"\0" * 4 + bytes(byte ^ 0xFF for byte in client.packed))


def teredo_server(v4: IPv4Address) -> IPv6Address:
    return teredo(v4, IPv4Address("8.8.8.8"))


def teredo_client(v4: IPv4Address) -> IPv6Address:
    return teredo(IPv4Address("8.8.8.8"), v4)


WRAPPINGS = [mapped, compatible, nat64, local_nat64, local_nat64_48, six_to_four, teredo_server, teredo_client]
TRANSPARENT = [mapped, nat64, six_to_four, teredo_server, teredo_client]


def inside(networks: list[str]) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(network=network))


@given(inside(NOT_PUBLIC_V4))
def test_special_ipv4_is_refused(address: IPv4Address) -> None:
    assert not is_permitted(address)


@given(inside(NOT_PUBLIC_V6))
def test_special_ipv6_is_refused(address: IPv6Address) -> None:
    assert not is_permitted(address)


@given(inside(NOT_PUBLIC_V4), st.sampled_from(WRAPPINGS))
def test_special_ipv4_is_refused_in_every_wrapping(address: IPv4Address, wrap) -> None:
    assert not is_permitted(wrap(address))


@given(st.ip_addresses(v=6))
def test_nothing_outside_global_unicast_is_permitted_but_wrapped_public_ipv4(address: IPv6Address) -> None:
    if is_permitted(address) and address not in ip_network("2000::/3"):
        assert is_permitted(IPv4Address(address.packed[12:]))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_permitted(text: str) -> None:
    assert is_permitted(ip_address(text))


@pytest.mark.parametrize("wrap", TRANSPARENT)
def test_public_ipv4_is_permitted_where_its_wrapping_is_routed(wrap) -> None:
    assert is_permitted(wrap(IPv4Address("8.8.8.8")))


def test_an_address_with_a_zone_is_refused_even_in_an_allowed_network() -> None:
    assert not is_permitted(ip_address("fe80::1%eth0"), [ip_network("fe80::/10")])
    assert not is_permitted(ip_address("2606:4700:4700::1111%eth0"))


@pytest.mark.parametrize("text", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"])
def test_an_allowed_network_permits_its_addresses_wrapped_or_not(text: str) -> None:
    assert is_permitted(ip_address(text), [ip_network("10.1.0.0/16")])
    assert not is_permitted(ip_address(text), [ip_network("10.2.0.0/16")])


def test_an_allowed_network_permits_the_literal_address() -> None:
    assert is_permitted(ip_address("fd00::7"), [ip_network("fd00::/16")])
    assert not is_permitted(ip_address("fd01::7"), [ip_network("fd00::/16")])


def test_an_allowed_network_permits_one_side_of_teredo_only() -> None:
    both = teredo(IPv4Address("10.1.2.3"), IPv4Address("127.0.0.1"))
    assert not is_permitted(both, [ip_network("10.0.0.0/8")])


def test_allowing_127_0_0_1_allows_the_other_address_of_localhost() -> None:
    assert is_permitted(ip_address("::1"), [IPv4Network("127.0.0.0/8")])
    assert not is_permitted(ip_address("::1"), [IPv4Network("10.0.0.0/8")])
