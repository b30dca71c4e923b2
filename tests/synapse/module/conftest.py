"""One homeserver with the module in it, and one identity server that trusts it, for all tests here."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.smtp import SmtpServer
from tests.fakes.tls import CertificateAuthority
from tests.integration.conftest import COMMAND
from tests.synapse.homeserver import PYTHON, ROOT
from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.person import Person

_numbers = itertools.count(1)

MODULE: dict[str, Any] = {
    "timeout_s": 3,
    "publish": {"media": ["email", "msisdn"]},
    "lookups": {"people_search": True, "login": True, "per_user_per_hour": 1000},
    "invites": {"denied_domains": ["denied.example"], "revoke": True, "pull": True},
    "registration": {"require_invite": True, "domains": ["staff.example"]},
    "keys": {"compare_hours": 24},
    "status": True,
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module as a homeserver's admin gets it."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target]
    subprocess.run(command, cwd=ROOT / "sydent_py" / "synapse", check=True, capture_output=True, timeout=60)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the module and nothing else in it."""
    target = tmp_path_factory.mktemp("installed")
    command = [COMMAND.parent / "uv", "pip", "install", "--quiet", "--offline", "--target", target, wheel]
    subprocess.run(command, check=True, timeout=60)
    return target


@pytest.fixture(scope="package")
def identity(
    authority: CertificateAuthority, smtp: SmtpServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrustingServer]:
    """Not started: who wants it trusted says so first."""
    server = TrustingServer(tmp_path_factory.mktemp("identity"), authority, smtp, {})
    yield server
    server.__exit__(None, None, None)


@pytest.fixture(scope="package")
def synapse(
    authority: CertificateAuthority,
    smtp: SmtpServer,
    identity: TrustingServer,
    installed: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ModuleSynapse]:
    if not PYTHON.exists():
        pytest.skip(f"NO REAL HOMESERVER IS TESTED: {PYTHON} is not there; `make test` installs Synapse")
    directory = tmp_path_factory.mktemp("synapse")
    ca_file = authority.write_root(directory / "identity_ca.pem")
    module = {"identity_server": identity.proxy.url, "ca_file": str(ca_file), **MODULE}
    homeserver = ModuleSynapse(directory, authority, smtp.port, installed=installed, module=module)
    identity.trust(homeserver.name, media=["email", "msisdn"], lookups=True)
    homeserver.launch()
    identity.process.start()
    try:
        homeserver.wait_until_up()
        homeserver.admin = homeserver.register("admin", admin=True)
        yield homeserver
    finally:
        homeserver.close()


@pytest.fixture
def alice(synapse: ModuleSynapse) -> Person:
    return synapse.register("alice")


@pytest.fixture
def bob(synapse: ModuleSynapse) -> Person:
    return synapse.register("bob")


@pytest.fixture
def number() -> str:
    """A phone number that nobody has."""
    return f"4474001{next(_numbers):05}"


@pytest.fixture
def configured(
    authority: CertificateAuthority, smtp: SmtpServer, installed: Path, tmp_path: Path
) -> Iterator[ModuleSynapse]:
    """A homeserver of the test's own, which it configures and launches."""
    if not PYTHON.exists():
        pytest.skip(f"NO REAL HOMESERVER IS TESTED: {PYTHON} is not there; `make test` installs Synapse")
    homeserver = ModuleSynapse(tmp_path, authority, smtp.port, installed=installed, module={})
    yield homeserver
    homeserver.close()
