"""Certificates for a test: an authority of its own, made anew each time."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import trustme

__all__ = ["Authority", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


@dataclass
class Authority:
    """Issues certificates into a folder."""

    folder: Path
    name: str = "authority"
    _ca: trustme.CA = field(default_factory=trustme.CA)

    @property
    def certificate(self) -> Path:
        """The file that whoever trusts this authority is given."""
        path = self.folder / f"{self.name}.pem"
        self._ca.cert_pem.write_to_path(str(path))
        return path

    def server(self) -> Identity:
        """Issue a certificate for 127.0.0.1."""
        return self._write(self._ca.issue_cert("127.0.0.1", "localhost"), "server")

    def client(self, common_name: str) -> Identity:
        """Issue a certificate for a client."""
        leaf = self._ca.issue_cert(f"{common_name}@example.org", common_name=common_name)
        return self._write(leaf, f"client-{common_name}")

    def _write(self, leaf: trustme.LeafCert, name: str) -> Identity:
        identity = Identity(
            self.folder / f"{self.name}-{name}.pem", self.folder / f"{self.name}-{name}-key.pem"
        )
        leaf.private_key_pem.write_to_path(str(identity.key))
        for number, pem in enumerate(leaf.cert_chain_pems):
            pem.write_to_path(str(identity.certificate), append=number > 0)
        return identity

    def client_context(self, identity: Identity | None = None) -> ssl.SSLContext:
        """Return what a client of a server of this authority uses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ca.configure_trust(context)
        context.check_hostname = False
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
        return context
