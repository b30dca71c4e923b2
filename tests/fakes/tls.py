"""A certificate authority of the test's own."""

import ssl
from pathlib import Path

import trustme


class CertificateAuthority:
    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write_root(self, path: Path) -> Path:
        """The PEM file that a client's ``ca_file`` names."""
        self._ca.cert_pem.write_to_path(path)
        return path

    def write_certificate(self, directory: Path, *names: str, common_name: str | None = None) -> tuple[Path, Path]:
        """PEM files of a certificate chain for ``names`` (DNS names or IP addresses) and of its private key."""
        issued = self._ca.issue_cert(*names, common_name=common_name)
        chain, key = directory / "certificate.pem", directory / "private_key.pem"
        chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return chain, key

    def server_context(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context
