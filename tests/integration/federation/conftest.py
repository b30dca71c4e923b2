"""Real servers on loopback, under names of a DNS of our own."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from sydent_py.clock import Deadline, SystemClock
from sydent_py.federation.transport import Transport
from tests.fakes.dns import FakeDns
from tests.fakes.homeserver import FakeHomeserver
from tests.fakes.tls import CertificateAuthority

LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="session")
def ca_file(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority.write_root(tmp_path_factory.mktemp("tls") / "ca.pem")


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    with FakeDns() as server:
        server.records["hs.example", "A"] = ["127.0.0.1"]
        yield server


@pytest.fixture
def homeserver(authority: CertificateAuthority) -> Iterator[FakeHomeserver]:
    with FakeHomeserver(authority, "hs.example", certificate_for=("hs.example", "*.hs.example", "127.0.0.1")) as server:
        yield server


@pytest.fixture
def transport(ca_file: Path, dns: FakeDns) -> Transport:
    return Transport(allow_networks=LOOPBACK, ca_file=ca_file, addresses=dns.addresses)


@pytest.fixture
def soon() -> Deadline:
    """Far enough for loopback, and near enough that a broken deadline fails a test fast."""
    return Deadline.after(SystemClock(), 5)
