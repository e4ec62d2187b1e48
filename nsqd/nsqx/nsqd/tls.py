"""TLS of the listeners: contexts by the options, names for ``/stats`` (protocol section 6)."""

import ssl

from nsqx.net import tls
from nsqx.net.client_certificates import demanding_context
from nsqx.net.tls import TlsFileError
from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol.errors import StartupError

__all__ = [
    "cipher_name",
    "common_name",
    "load_authorities",
    "server_context",
    "version_name",
]

# The suites that NSQ knows by name, by their registered numbers.
_CIPHER_NAMES = {
    0x0005: "TLS_RSA_WITH_RC4_128_SHA",
    0x000A: "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    0x002F: "TLS_RSA_WITH_AES_128_CBC_SHA",
    0x0035: "TLS_RSA_WITH_AES_256_CBC_SHA",
    0xC007: "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    0xC009: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    0xC00A: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    0xC011: "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    0xC012: "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0xC013: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    0xC014: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    0xC02B: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    0xC02F: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
}
_VERSION_NAMES = {"TLSv1": "TLS1.0", "TLSv1.1": "TLS1.1", "TLSv1.2": "TLS1.2", "TLSv1.3": "TLS1.3"}


def server_context(options: NsqdOptions) -> ssl.SSLContext | None:
    """
    Return what TCP and HTTPS connections are upgraded with; None without a certificate.

    Raises:
        StartupError: a file is missing, damaged, or does not belong to the other.
    """
    if not options.tls_cert:
        return None
    cert, key, version = options.tls_cert, options.tls_key, options.tls_min_version
    try:
        return demanding_context(
            lambda: tls.server_context(cert, key, version),
            options.tls_client_auth_policy,
            options.tls_root_ca_file,
        )
    except TlsFileError as error:
        raise _failure(str(error)) from error


def load_authorities(context: ssl.SSLContext, path: str) -> None:
    """
    Trust the certificates in a file (``--tls-root-ca-file``).

    Raises:
        StartupError: it is missing or holds none.
    """
    try:
        tls.load_authorities(context, path)
    except TlsFileError as error:
        raise _failure(f"{error} (--tls-root-ca-file)") from error


def cipher_name(context: ssl.SSLContext, openssl_name: str) -> str:
    """Return a cipher suite as ``/stats`` shows it: its registered name, or ``Unknown 4865``."""
    for cipher in context.get_ciphers():
        if cipher["name"] == openssl_name:
            number = cipher["id"] & 0xFFFF
            return _CIPHER_NAMES.get(number, f"Unknown {number}")
    return openssl_name


def common_name(tls: ssl.SSLObject) -> str:
    """Return the common name in the client's certificate, or ``""``."""
    subject = (tls.getpeercert() or {}).get("subject", ())
    names = [value for part in subject for key, value in part if key == "commonName"]  # type: ignore[str-unpack]  # typeshed leaves the shape of a name open
    return names[0] if names else ""


def version_name(openssl_name: str) -> str:
    """Return ``TLS1.3`` for ``TLSv1.3``."""
    return _VERSION_NAMES.get(openssl_name, openssl_name)


# Failures


def _failure(reason: str) -> StartupError:
    return StartupError(f"failed to build TLS config - {reason}")
