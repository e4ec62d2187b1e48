"""
Errors of the client. The class tells what a caller can do next::

    NsqError
      ConnectFailed        nobody listens there, or the handshake failed; another address may do
        IdentifyFailed       nsqd refused IDENTIFY, or did not grant what was demanded (TLS)
        AuthFailed           nsqd wants a secret, or refused the one it got
      ConnectionClosed     an open connection ended; what was under way may have happened or not
      RequestFailed        nsqd answered a command with an error, and closed the connection
        PublishFailed        it refused a message; sending it again gives the same answer
      PartlyPublished      ``publish_many`` failed after some batches; carries what is unconfirmed
      DeadlineExceeded     no answer in time; what was under way may have happened or not
      ClientClosed         the Producer or Consumer is not open
      LookupFailed         one lookupd could not be asked
      DecodeFailed         the body of a message is not what was expected
      HandlerFailed        a handler ended without having done its work

Wrong arguments (an invalid topic name, an empty body) are ``ValueError``, raised at once.
"""

import os
import socket
import ssl

from nsqx.protocol.errors import NsqError

__all__ = [
    "AuthFailed",
    "ClientClosed",
    "ConnectFailed",
    "ConnectionClosed",
    "DeadlineExceeded",
    "DecodeFailed",
    "HandlerFailed",
    "IdentifyFailed",
    "LookupFailed",
    "NsqError",
    "PartlyPublished",
    "PublishFailed",
    "RequestFailed",
    "reason_of",
]


class ConnectFailed(NsqError):
    """No connection came about. ``address`` is where it was tried."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot connect to {address}: {reason}")
        self.address = address
        self.reason = reason


class IdentifyFailed(ConnectFailed):
    """nsqd refused IDENTIFY, or does not offer what the settings demand."""


class AuthFailed(ConnectFailed):
    """nsqd demands authorization and there is no secret, or the secret was refused."""


class ConnectionClosed(NsqError):
    """
    A connection that was open has ended.

    A publish that was sent and not yet confirmed may have been accepted or not.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"connection to {address} closed: {reason}")
        self.address = address
        self.reason = reason


class RequestFailed(NsqError):
    """nsqd answered with an error frame: ``code`` is its first word, ``text`` what follows."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code} {text}" if text else code)
        self.code = code
        self.text = text

    @property
    def says_draining(self) -> bool:
        """Whether it is the refusal of an nsqd that is being emptied."""
        return self.code.endswith("PUB_FAILED") and self.text.endswith(" draining")


class PublishFailed(RequestFailed):
    """nsqd refused a publish, for example with ``E_BAD_MESSAGE``."""


class PartlyPublished(NsqError):
    """
    ``publish_many`` could not publish everything it took from its argument.

    Attributes:
        confirmed: how many messages nsqd confirmed.
        unconfirmed: the bodies of the batches that failed. They may have been accepted
            if the cause is a lost connection or a passed deadline.
    """

    def __init__(self, confirmed: int, unconfirmed: list[bytes], cause: BaseException) -> None:
        super().__init__(f"{confirmed} messages published, {len(unconfirmed)} not: {cause}")
        self.confirmed = confirmed
        self.unconfirmed = unconfirmed


class DeadlineExceeded(NsqError, TimeoutError):
    """Something took longer than its deadline. ``seconds`` is how long it was given."""

    def __init__(self, what: str, seconds: float, last_error: BaseException | None = None) -> None:
        because = f"; last error: {last_error}" if last_error is not None else ""
        super().__init__(f"{what} took longer than {seconds:g} s{because}")
        self.seconds = seconds
        self.last_error = last_error


class ClientClosed(NsqError):
    """A Producer or Consumer was used before it was opened or after it was closed."""


class LookupFailed(NsqError):
    """A lookupd could not be asked, or its answer makes no sense."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"lookup at {url} failed: {reason}")
        self.url = url
        self.reason = reason


class DecodeFailed(NsqError, ValueError):
    """
    The body of a message is not what was expected.

    Attributes:
        body: as it came.
        kind: the type that was asked for.
        reason: what is wrong. Nothing of the body is in it, nor in the text of this error, which is
            often logged; what the decoder said, which may quote it, is ``__context__``.
    """

    def __init__(self, body: bytes, kind: object, reason: str) -> None:
        name = getattr(kind, "__name__", str(kind))
        super().__init__(f"not a {name}: {reason}")
        self.body = body
        self.kind = kind
        self.reason = reason


class HandlerFailed(NsqError):
    """A handler ended without having done its work, in whatever way."""


def reason_of(error: OSError) -> str:
    """Say why a connection did not come about; asyncio says only that it did not."""
    if error.errno is None or isinstance(error, ssl.SSLError | socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()
