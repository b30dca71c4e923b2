"""Two real homeservers that federate, our server under its public name, and a mail server for all of them."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.smtp import SmtpServer
from tests.fakes.tls import CertificateAuthority
from tests.synapse.homeserver import PYTHON, Synapse
from tests.synapse.identity import PublicIdentityServer

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="package")
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="package")
def homeservers(
    authority: CertificateAuthority, smtp: SmtpServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Synapse, Synapse]]:
    """Started once for all tests of a process; each test has users and rooms of its own."""
    if not PYTHON.exists():
        pytest.skip(f"NO REAL HOMESERVER IS TESTED: {PYTHON} is not there; `make test` installs Synapse")
    pair = [Synapse(tmp_path_factory.mktemp("synapse"), authority, smtp.port) for _ in range(2)]
    with ExitStack() as stack:
        for homeserver in pair:
            homeserver.launch()
            stack.callback(homeserver.kill)
        for homeserver in pair:
            homeserver.wait_until_up()
        yield pair[0], pair[1]


@pytest.fixture(scope="package")
def alpha(homeservers: tuple[Synapse, Synapse]) -> Synapse:
    """The homeserver of those who invite."""
    return homeservers[0]


@pytest.fixture(scope="package")
def beta(homeservers: tuple[Synapse, Synapse]) -> Synapse:
    """The homeserver of those who are invited."""
    return homeservers[1]


@pytest.fixture(scope="package")
def identity(
    authority: CertificateAuthority, smtp: SmtpServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PublicIdentityServer]:
    """The identity server of everybody."""
    with PublicIdentityServer(tmp_path_factory.mktemp("identity"), authority, smtp, {}) as server:
        yield server


@pytest.fixture
def address() -> str:
    """An email address that nobody has used."""
    return f"owner{next(_numbers)}@example.org"


@pytest.fixture
def engine() -> str:
    """Where ``own_identity`` keeps its data; a test may choose."""
    return "sqlite"


@pytest.fixture
def own_identity(
    authority: CertificateAuthority, smtp: SmtpServer, empty_database_url: str, tmp_path: Path
) -> Iterator[PublicIdentityServer]:
    """An identity server of the test's own, which it may break."""
    with PublicIdentityServer(tmp_path, authority, smtp, {"database": {"url": empty_database_url}}) as server:
        yield server
