"""A real Sydent and our server, which replicate to each other with certificates of one authority."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sydent_py import signing
from tests.fakes.homeserver import FakeHomeserver
from tests.fakes.smtp import SmtpServer
from tests.fakes.tls import CertificateAuthority
from tests.integration.conftest import free_port
from tests.sydent.sydent import PYTHON, Sydent
from tests.synapse.identity import Account, PublicIdentityServer


@dataclass(frozen=True)
class Pair:
    """Two identity servers that trust each other, and a homeserver whose users have accounts at ours."""

    sydent: Sydent
    ours: PublicIdentityServer
    homeserver: FakeHomeserver

    def account(self, localpart: str) -> Account:
        return self.ours.register(self.homeserver.openid_token(localpart))

    def user_id(self, localpart: str) -> str:
        return f"@{localpart}:{self.homeserver.name}"

    def restart_ours(self) -> None:
        assert self.ours.process.stop() == 0
        self.ours.process.start()


@pytest.fixture(scope="package")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="package")
def pair(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Started once for all tests of a process; each test has addresses of its own."""
    if not PYTHON.exists():
        pytest.skip(f"NO REAL SYDENT IS TESTED: {PYTHON} is not there; `make test` installs it")
    sydent = Sydent(tmp_path_factory.mktemp("sydent"), "sydent.test", authority)
    # It makes its database.
    sydent.start()
    sydent.stop()
    with SmtpServer() as smtp, FakeHomeserver(authority) as homeserver:
        ours = our_server(tmp_path_factory.mktemp("ours"), authority, smtp, sydent)
        sydent.start()
        with ours:
            yield Pair(sydent, ours, homeserver)
        sydent.stop()


def our_server(directory: Path, authority: CertificateAuthority, smtp: SmtpServer, sydent: Sydent) -> PublicIdentityServer:
    """Configured as a peer of ``sydent``, and ``sydent`` of it."""
    port = free_port()
    certificates = directory / "replication"
    certificates.mkdir()
    ours = PublicIdentityServer(directory, authority, smtp, {})
    certificate, key = authority.write_certificate(certificates, "localhost", common_name=ours.name)
    replication = {
        "bind": f"127.0.0.1:{port}",
        "certificate_file": str(certificate),
        "key_file": str(key),
        "ca_file": str(authority.write_root(certificates / "ca.pem")),
    }
    peer = {"name": sydent.name, "verify_key": sydent.verify_key, "push_url": sydent.push_url}
    with ours.process.config.open("a") as config:
        config.write(f"\n{table('[sydent_replication]', replication)}\n{table('[[sydent_peers]]', peer)}\n")
    ours.signing_keys.parent.mkdir()
    signing.create_key_file(ours.signing_keys)
    public_key = signing.Signer(ours.name, signing.read_key_file(ours.signing_keys)).public_keys[0]
    sydent.add_peer(ours.name, f"https://localhost:{port}", public_key)
    return ours


def table(heading: str, values: dict[str, Any]) -> str:
    return "\n".join([heading, *(f"{name} = {json.dumps(value)}" for name, value in values.items())])
