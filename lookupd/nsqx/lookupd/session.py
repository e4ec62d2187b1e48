"""
What nsqlookupd does for one connection: requests in, registry changed, answers out. No I/O.

The connection calls :meth:`Session.receive_data` and writes what it returns; once ``is_over`` is
set it closes. :meth:`Session.close` takes the producer out, however the connection ended.
"""

from collections.abc import Callable

from nsqx.lookupd.registry import Producer, Registry, RegistryFullError
from nsqx.protocol.errors import FatalProtocolError, ProtocolError
from nsqx.protocol.lookup import (
    OK_ANSWER,
    LookupIdentify,
    LookupLimits,
    LookupViolation,
    PeerInfo,
    Ping,
    Register,
    Request,
    RequestParser,
    Unregister,
    encode_answer,
)

__all__ = ["Session"]


class Session:
    """One connection of an nsqd, or of whoever connected."""

    def __init__(
        self,
        registry: Registry,
        *,
        remote_address: str,
        identity: Callable[[PeerInfo], bytes],
        limits: LookupLimits,
    ) -> None:
        """``identity`` returns the answer to an IDENTIFY: who this nsqlookupd is, as JSON."""
        self.is_over = False  # an error was answered: close once it is sent
        self.error: FatalProtocolError | None = None
        self.producer: Producer | None = None
        self.refused = 0  # registrations for which there was no room
        self.remote_address = remote_address
        self._registry = registry
        self._identity = identity
        self._parser = RequestParser(limits)

    def receive_data(self, data: bytes, now_ns: int) -> bytes:
        """Execute the requests that ``data`` completes and return their answers."""
        if self.is_over:
            return b""
        return self._execute_all(self._parser.receive_data(data), now_ns)

    def receive_eof(self, now_ns: int) -> bytes:
        """Return the last answer: the peer sends nothing more."""
        if self.is_over:
            return b""
        output = self._execute_all(self._parser.receive_eof(), now_ns)
        self.is_over = True
        return output

    def refuse(self, reason: str) -> bytes:
        """Serve nothing; return the answer that says why."""
        self.is_over = True
        self.error = FatalProtocolError("E_INVALID", reason)
        return encode_answer(self.error.line)

    def close(self) -> None:
        """Take the producer out of everything. Called once, when the connection is lost."""
        self.is_over = True
        self._parser.forget()  # a connection and its session are a circle, which may stay for long
        if self.producer is not None:
            self._registry.remove_producer(self.producer)
            self.producer = None

    def _execute_all(self, requests: list[Request], now_ns: int) -> bytes:
        output: list[bytes] = []
        try:
            for request in requests:
                answer = self._execute(request, now_ns)
                output.append(answer)  # at once: what follows may raise
        except FatalProtocolError as exc:
            exc.__traceback__ = None  # its frames hold this session, and all that was read
            self.is_over = True
            self.error = exc
            output.append(encode_answer(exc.line))
        return b"".join(output)

    def _execute(self, request: Request, now_ns: int) -> bytes:
        match request:
            case Ping():
                if self.producer is not None:
                    self._registry.ping(self.producer, now_ns)
            case Register(topic, channel):
                return self._register(topic, channel)
            case Unregister(topic, channel):
                self._registry.unregister(self._identified(), topic, channel)
            case LookupIdentify(peer):
                return self._identify(peer, now_ns)
            case LookupViolation(error):
                raise error
        return OK_ANSWER

    def _identify(self, peer: PeerInfo, now_ns: int) -> bytes:
        self.producer = self._registry.add_producer(self.remote_address, peer, now_ns)
        return encode_answer(self._identity(peer))

    def _register(self, topic: str, channel: str | None) -> bytes:
        """Return the answer. What was accepted before stays: one topic too many ends nothing."""
        try:
            self._registry.register(self._identified(), topic, channel)
        except RegistryFullError as exc:
            self.refused += 1
            return encode_answer(ProtocolError("E_INVALID", f"REGISTER {exc}").line)
        return OK_ANSWER

    def _identified(self) -> Producer:
        assert self.producer is not None  # the parser lets nothing else through
        return self.producer
