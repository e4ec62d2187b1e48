"""
How commands show who they are and believe whom they reach: ``--tls`` and its like, declared once.

    @security_options
    def tail(security: Security, ...) -> None: ...

    Consumer(..., settings=security.settings("nsqx-tail"))      NSQ's protocol
    security.http(sources.is_lookupd)                           HTTP or HTTPS
"""

import functools
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from nsqx.client.settings import Settings
from nsqx.cluster.http import CONNECT_S, REQUEST_S, DaemonHttp
from nsqx.net.tls import TlsFileError, client_context
from nsqx.protocol.version import VERSION

__all__ = ["PLAIN", "Security", "security_of", "security_options"]

SECRET_VARIABLE = "NSQX_AUTH_SECRET"


@dataclass(frozen=True, slots=True)
class Security:
    """What was asked for; nothing is read before it is needed."""

    is_tls: bool = False
    ca_file: str = ""
    cert: str = ""
    key: str = ""
    is_insecure: bool = False
    auth_secret: str = ""

    def tls_context(self) -> ssl.SSLContext:
        """
        Return how connections are verified.

        Raises:
            click.BadParameter: a file is missing or damaged.
        """
        try:
            return client_context(
                self.ca_file, cert=self.cert, key=self.key, verify=not self.is_insecure
            )
        except TlsFileError as exc:
            raise click.BadParameter(str(exc)) from exc

    def settings(self, name: str) -> Settings:
        """Return the settings of connections to nsqds."""
        return Settings(
            user_agent=f"{name}/{VERSION}",
            tls=self.tls_context() if self.is_tls else False,
            auth_secret=self.auth_secret or None,
        )

    def http(
        self,
        is_lookupd: Callable[[str], bool],
        *,
        is_routine: bool = False,
        seconds_max: float = REQUEST_S,
    ) -> DaemonHttp:
        """
        Return what asks daemons: nsqds by nothing but HTTPS, if TLS was asked for.

        nsqlookupds are asked as they are named, and not shown the secret.
        """
        http = DaemonHttp(
            connect_s=min(CONNECT_S, seconds_max),
            request_s=seconds_max,
            tls=self.tls_context,
            secret=self.auth_secret,
            is_secret_clear=not self.is_tls,
            is_routine=is_routine,
        )
        http.only_https = lambda address: self.is_tls and not is_lookupd(address)
        return http


PLAIN = Security()


def security_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as ``security``."""

    @functools.wraps(function)
    def with_security(**given: Any) -> None:
        security = security_of({name: given.pop(name) for name in _NAMES})
        function(security=security, **given)

    command: Callable[..., None] = with_security
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def security_of(given: Mapping[str, Any]) -> Security:
    """
    Return what the values of the options say, by the names of their parameters.

    Raises:
        click.BadParameter: the file with the secret can't be read.
    """
    # There is no flag for it: arguments of a process are seen by everybody on the machine.
    auth_secret = os.environ.get(SECRET_VARIABLE, "")
    if given["auth_secret_file"] is not None:
        auth_secret = _read(given["auth_secret_file"])
    ca_file, cert, key = (given[name] for name in ("tls_ca_file", "tls_cert", "tls_key"))
    is_insecure = given["tls_insecure"]
    is_tls = given["tls"] or bool(ca_file or cert) or is_insecure
    return Security(is_tls, ca_file, cert, key, is_insecure, auth_secret)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise click.BadParameter(f"{path}: {exc}", param_hint="--auth-secret-file") from exc


def _file(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, default="", metavar="FILE", help=text)


_NAMES = ("tls", "tls_ca_file", "tls_cert", "tls_key", "tls_insecure", "auth_secret_file")

_OPTIONS: list[Callable[[Callable[..., None]], Callable[..., None]]] = [
    click.option("--tls", is_flag=True, help="Encrypt; the certificates of nsqds are verified."),
    _file("--tls-ca-file", "Whose certificates to trust, not the system's; implies --tls."),
    _file("--tls-cert", "Certificate to show; implies --tls."),
    _file("--tls-key", "Its key, if it is in a file of its own."),
    click.option("--tls-insecure", is_flag=True, help="Verify nothing; implies --tls."),
    click.option(
        "--auth-secret-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help=f"File with the secret for nsqds that demand one; or set {SECRET_VARIABLE}.",
    ),
]
