"""
TLS contexts, of either end, from files. Who is trusted, and what is demanded, is the caller's.

A key with a password is refused: OpenSSL would ask for it at the terminal, and a daemon would hang.
"""

import ssl
import warnings

from nsqx.protocol.errors import NsqxError

__all__ = [
    "TlsFileError",
    "client_context",
    "load_authorities",
    "load_cert_chain",
    "reload_cert_chain",
    "server_context",
    "set_min_version",
]


class TlsFileError(NsqxError, OSError):
    """A file of certificates or keys can't be used; its text is the half sentence that says why."""


def server_context(cert: str, key: str, min_version: int | None = None) -> ssl.SSLContext:
    """
    Return what connections that are accepted are wrapped in. It asks clients for no certificate.

    Raises:
        TlsFileError: a file is missing, damaged, or does not belong to the other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if min_version is not None:
        set_min_version(context, min_version)
    load_cert_chain(context, cert, key)
    return context


def client_context(
    ca_file: str = "",
    *,
    cert: str = "",
    key: str = "",
    verify: bool = True,
    min_version: int | None = None,
) -> ssl.SSLContext:
    """
    Return what connections that are opened are wrapped in.

    Args:
        ca_file: whom to trust; empty: whom the system trusts.
        cert, key: of this end, if it shows one; without ``key`` it is in ``cert``.
        verify: whether the other end must have a certificate that is trusted, for its host name.
        min_version: a protocol number; None: what Python thinks safe.

    Raises:
        TlsFileError: a file is missing, damaged, or does not belong to the other.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise _bad_authorities(ca_file, error) from error
    if min_version is not None:
        set_min_version(context, min_version)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert:
        load_cert_chain(context, cert, key)
    return context


def set_min_version(context: ssl.SSLContext, version: int) -> None:
    """Allow versions from a protocol number (``ssl.TLSVersion``) on."""
    with warnings.catch_warnings():
        # Versions before 1.2 are deprecated, and some are told to allow them.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion(version)
    if version < ssl.TLSVersion.TLSv1_2:
        # OpenSSL counts what these versions sign with as below its security level 1.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")


def reload_cert_chain(context: ssl.SSLContext, cert: str, key: str) -> None:
    """
    Use a certificate that has come to the same files for connections from now on.

    Raises:
        TlsFileError: see `server_context`; the one before is used on.
    """
    server_context(cert, key)  # what does not belong together must not replace what does
    load_cert_chain(context, cert, key)


def load_authorities(context: ssl.SSLContext, path: str) -> None:
    """
    Trust the certificates in a file.

    Raises:
        TlsFileError: it is missing or holds none.
    """
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise _bad_authorities(path, error) from error


def _bad_authorities(path: str, error: OSError) -> TlsFileError:
    if isinstance(error, ssl.SSLError):
        return TlsFileError(f"no certificate in {path}")
    return TlsFileError(f"open {path}: {error.strerror}")


def load_cert_chain(context: ssl.SSLContext, cert: str, key: str) -> None:
    """
    Show a certificate; without ``key`` that is in ``cert``.

    Raises:
        TlsFileError: see `server_context`.
    """
    try:
        context.load_cert_chain(cert, key or None, password=_no_password)
    except _EncryptedKeyError as error:
        reason = f"the key in {key or cert} is protected by a password; store it without one"
        raise TlsFileError(reason) from error
    except ssl.SSLError as error:
        raise TlsFileError(_explain(error, cert, key)) from error
    except OSError as error:
        raise TlsFileError(f"open {_unreadable(cert, key)}: {error.strerror}") from error


class _EncryptedKeyError(NsqxError):
    pass


def _no_password() -> str:
    raise _EncryptedKeyError


def _explain(error: ssl.SSLError, cert: str, key: str) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key or cert} is not that of the certificate in {cert}"
    files = f"{cert} or {key}" if key else cert
    return f"{files} is not a certificate or key in PEM format"


def _unreadable(cert: str, key: str) -> str:
    for path in filter(None, (cert, key)):
        try:
            with open(path, "rb"):
                pass
        except OSError:
            return path
    return cert
