"""
What a server demands of its clients' certificates (``--tls-client-auth-policy``).

    require          any certificate that its owner has the key of: it is no identity
    require-verify   one that comes from an authority that is trusted

The standard library knows only certificates that it can verify, so under ``require`` each
connection gets a context of its own, which is made to trust the certificate that the client has
just sent (decision record 33).
"""

import ssl
from collections.abc import Callable
from typing import Any

from nsqx.net.tls import TlsFileError, load_authorities

__all__ = ["POLICIES", "POLICY_REQUIRE_VERIFY", "demanding_context"]

POLICY_REQUIRE = "require"
POLICY_REQUIRE_VERIFY = "require-verify"
POLICIES = (POLICY_REQUIRE, POLICY_REQUIRE_VERIFY)


def demanding_context(
    make: Callable[[], ssl.SSLContext], policy: str, ca_file: str
) -> ssl.SSLContext:
    """
    Return a server's context that demands what a policy says; another word demands nothing.

    Args:
        make: makes one that demands nothing, from the files as they are.
        ca_file: whom to trust with ``require-verify``; empty: whom the system trusts.

    Raises:
        TlsFileError: by ``make``, or the file holds no certificate.
    """
    context = make()
    if policy == POLICY_REQUIRE_VERIFY:
        context.verify_mode = ssl.CERT_REQUIRED
        if ca_file:
            _load_authorities(context, ca_file)
        else:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    elif policy == POLICY_REQUIRE:
        _take_any_certificate(context)
        # Before the client's certificate comes, and for each connection anew: what one client
        # made a context trust does not stay.
        context.sni_callback = _use_own_context(make)
    return context


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    try:
        load_authorities(context, path)
    except TlsFileError as error:
        raise TlsFileError(f"{error} (--tls-root-ca-file)") from error


_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME


def _use_own_context(make: Callable[[], ssl.SSLContext]) -> Callable[..., int | None]:
    def replace(
        connection: ssl.SSLObject | ssl.SSLSocket, name: str, shared: ssl.SSLContext
    ) -> int | None:
        try:
            own = make()
        except TlsFileError:  # the files have changed since the start
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
