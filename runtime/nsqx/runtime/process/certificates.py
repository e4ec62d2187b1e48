"""Certificates that are replaced while a daemon runs: SIGHUP has it read their files again."""

import ssl

from nsqx.net.tls import TlsFileError, reload_cert_chain
from nsqx.runtime.process import logs

__all__ = ["reload"]

_log = logs.get_logger()


def reload(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Use what is in the files now, for connections from now on; or keep what was, and say so."""
    try:
        reload_cert_chain(context, cert, key)
    except TlsFileError as error:
        _log.error("failed to load the certificate again, the old one stays - %s", error)
    else:
        _log.info("the certificate was loaded again")
