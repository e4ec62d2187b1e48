"""
TLS of the listeners: contexts from the options, and names for ``/stats`` (protocol section 6).

The policy ``require`` of ``--tls-client-auth-policy`` takes any certificate that its owner has the
key of. The standard library knows only certificates that it can verify, so there each connection
gets a context of its own, which is made to trust the certificate that the client has just sent
(decision record 33).
"""

import ssl
from collections.abc import Callable
from typing import Any

from nsqx.net import tls
from nsqx.net.tls import TlsFileError
from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol.errors import StartupError

__all__ = [
    "POLICY_REQUIRE_VERIFY",
    "cipher_name",
    "common_name",
    "load_authorities",
    "server_context",
    "version_name",
]

POLICY_REQUIRE = "require"
POLICY_REQUIRE_VERIFY = "require-verify"

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
    context = _context(options)
    policy = options.tls_client_auth_policy
    if policy == POLICY_REQUIRE_VERIFY:
        context.verify_mode = ssl.CERT_REQUIRED
        if options.tls_root_ca_file:
            load_authorities(context, options.tls_root_ca_file)
        else:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    elif policy == POLICY_REQUIRE:
        _take_any_certificate(context)
        # Before the client's certificate comes, and for each connection anew: what one client
        # made a context trust does not stay.
        context.sni_callback = _use_own_context(lambda: _context(options))
    return context


def _context(options: NsqdOptions) -> ssl.SSLContext:
    try:
        return tls.server_context(options.tls_cert, options.tls_key, options.tls_min_version)
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


# Any certificate

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME


def _use_own_context(make: Callable[[], ssl.SSLContext]) -> Callable[..., int | None]:
    def replace(
        connection: ssl.SSLObject | ssl.SSLSocket, name: str, shared: ssl.SSLContext
    ) -> int | None:
        try:
            own = make()
        except StartupError:  # the files have changed since the start
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        _take_any_certificate(own)
        connection.context = own
        return None

    return replace


def _take_any_certificate(context: ssl.SSLContext) -> None:
    """Ask for a certificate, and trust the one that comes."""

    def message_passed(
        connection: object, direction: str, version: int, kind: object, step: object, data: bytes
    ) -> None:
        if direction == "read" and getattr(step, "name", "") == "CERTIFICATE":
            certificate = _first_certificate(data, version)
            if certificate:
                context.load_verify_locations(cadata=certificate)

    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    # The one place where the certificate shows before it is judged.
    untyped: Any = context
    untyped._msg_callback = message_passed


def _first_certificate(message: bytes, version: int) -> bytes:
    """
    Return the first certificate (DER) of a Certificate message, b"" if it has none.

        type(1) length(3) [context length(1) context, since 1.3] length(3) (length(3) DER ..)*
    """
    start = 4
    if version >= ssl.TLSVersion.TLSv1_3:
        start += 1 + message[start]
    start += 3
    size = int.from_bytes(message[start : start + 3])
    return message[start + 3 : start + 3 + size]


# Failures


def _failure(reason: str) -> StartupError:
    return StartupError(f"failed to build TLS config - {reason}")
