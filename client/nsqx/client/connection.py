"""
One TCP connection to an nsqd. Carries bytes, decides nothing.

``connect`` opens it and does the handshake. From then on a listener is told what happens, and
commands are collected during one turn of the event loop and written together.

A watch ends a connection on which nothing is heard, nothing is answered, or nothing can be
written for too long, so whoever waits for an answer waits for this connection at most that long.
"""

import asyncio
import contextlib
from typing import Protocol as Interface, cast

from nsqx.client.addresses import Address
from nsqx.client.errors import ConnectFailed, ConnectionClosed, NsqError, reason_of
from nsqx.client.message import MakeMessage, Message
from nsqx.client.session import (
    AnswerFailed,
    CloseWait,
    Confirmed,
    Event,
    Failed,
    Messages,
    Negotiated,
    Opened,
    Refused,
    Request,
    Session,
    StartTls,
)
from nsqx.client.settings import Settings
from nsqx.net import names

__all__ = ["Connection", "Listener", "connect"]

FAREWELL_SECONDS = 2.0  # how long nsqd may take to read the last commands and close its side


class Listener(Interface):
    """Whoever uses a connection. Calls come from the event loop and must not block."""

    make_message: MakeMessage

    def connection_opened(self, connection: "Connection") -> None:
        """The handshake is over. The other calls come only after this one."""

    def messages_received(self, messages: list[Message]) -> None:
        """Messages came."""

    def answer_failed(self, code: str, text: str) -> None:
        """A FIN, REQ or TOUCH was too late."""

    def close_wait(self) -> None:
        """Nothing more is delivered on this connection."""

    def progressed(self) -> None:
        """Requests were answered, or bytes can be written again."""

    def connection_lost(self, error: NsqError) -> None:
        """The connection ended. Called once; its unanswered requests have failed already."""


async def connect(address: Address, settings: Settings, listener: Listener) -> "Connection":
    """
    Open a connection and do the handshake, within ``settings.connect_timeout``.

    Raises:
        ConnectFailed: it did not work; IdentifyFailed and AuthFailed tell more.
    """
    connection = Connection(address, settings, listener)
    try:
        async with asyncio.timeout(settings.connect_timeout):
            await connection.open()
    except TimeoutError:
        raise ConnectFailed(
            str(address), f"no answer within {settings.connect_timeout:g} s"
        ) from None
    except ConnectionClosed as exc:
        raise ConnectFailed(str(address), exc.reason) from exc
    except OSError as exc:
        raise ConnectFailed(str(address), reason_of(exc)) from exc
    finally:
        if not connection.is_open:
            connection.abort()
    return connection


class Connection(asyncio.Protocol):
    """The socket, a ``Session`` that knows the protocol, and a listener that uses it."""

    def __init__(self, address: Address, settings: Settings, listener: Listener) -> None:
        self.address = address
        self.was_refused = False  # nsqd closes over a request that it refused; it works
        self._is_writable = True
        self._settings = settings
        self._listener = listener
        self._was_opened = False
        self._loop = asyncio.get_running_loop()
        self._session = Session(settings, str(address), listener.make_message)
        self._finished = self._session.finished
        self._transport: asyncio.Transport | None = None
        self._steps: asyncio.Queue[StartTls | Opened] = asyncio.Queue()  # of the handshake
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._error: NsqError | None = None  # why it is being closed
        self._flush_is_due = False
        self._heard_at = self._answered_at = self._wrote_at = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None

    # Opening

    async def open(self) -> None:
        """Connect and do the handshake; only ``connect`` calls this."""
        await self._connect()
        if isinstance(await self._next_step(), StartTls):
            await self._start_tls()
            await self._next_step()
        if not self.is_open:  # and lost again
            raise self.reason

    async def _connect(self) -> None:
        """Connect to the first address behind the host that can be reached."""
        host, port = self.address
        hosts = await names.addresses_of(host, port) if names.is_name(host) else [host]
        local = self._settings.local_address
        for each in hosts:
            try:
                await self._loop.create_connection(lambda: self, each, port, local_addr=local)
            except OSError:
                if each == hosts[-1]:
                    raise
            else:
                return

    async def _next_step(self) -> StartTls | Opened:
        step = asyncio.ensure_future(self._steps.get())
        try:
            await asyncio.wait((step, self._closed), return_when=asyncio.FIRST_COMPLETED)
            if step.done():
                return step.result()
        finally:
            step.cancel()  # also if the time for connecting is over
        raise self.reason

    async def _start_tls(self) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            # asyncio would start a handshake on it, wait in vain, and leave a transport behind.
            raise self.reason
        transport = await self._loop.start_tls(
            self._transport,
            self,
            self._settings.ssl_context(),
            server_hostname=self._settings.tls_server_name or self.address.host,
        )
        if transport is None:  # the connection was lost meanwhile
            raise self.reason
        self._transport = transport
        self._session.tls_started()
        self._flush()

    @property
    def is_open(self) -> bool:
        """Whether the handshake is over and the connection not lost."""
        return self._was_opened and not self._closed.done()

    @property
    def can_send(self) -> bool:
        """Whether requests may be sent now: it is open, and nsqd takes what is written."""
        return self._is_writable and self.is_open and self._error is None

    def owes(self, now: float, seconds: float) -> bool:
        """Whether nsqd has not answered any request for so long."""
        return bool(self._session.pending) and now - self._answered_at > seconds

    @property
    def negotiated(self) -> Negotiated:
        """What nsqd answered to IDENTIFY."""
        return self._session.negotiated

    # Sending

    def send(self, command: bytes) -> None:
        """Send a command that has no answer, at the end of this turn of the event loop."""
        self._session.send(command)
        self._flush_soon()

    def finish(self, message_id: bytes) -> None:
        """Send FIN, behind all commands of this turn."""
        self._finished.append(message_id)  # `Session.finish`, without a call for each message
        if not self._flush_is_due:
            self._flush_soon()

    def request(self, request: Request, command: bytes) -> None:
        """Send a command; ``request`` is confirmed or fails when it is answered."""
        if not self._session.pending:
            self._answered_at = self._loop.time()  # the wait begins now
        self._session.request(request, command)
        if not self._flush_is_due:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        data = self._session.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # Closing

    async def close(self) -> None:
        """Send what was queued, and close when nsqd has read it; at once if it does not."""
        self._flush()
        if self._transport is not None and not self._transport.is_closing():
            self._error = ConnectionClosed(str(self.address), "closed by the client")
            if self._transport.can_write_eof():
                # Closing right away would reset the connection if nsqd has just sent something,
                # and a reset may overtake our last FINs.
                with contextlib.suppress(RuntimeError):  # uvloop's, if it was lost just now
                    self._transport.write_eof()
            else:
                self._transport.close()
        await asyncio.wait((self._closed,), timeout=FAREWELL_SECONDS)
        self.abort()

    def abort(self, error: NsqError | None = None) -> None:
        """Close without sending what is queued."""
        if self._error is None:
            self._error = error or ConnectionClosed(str(self.address), "closed by the client")
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is lost."""
        await asyncio.wait((self._closed,))

    # asyncio.Protocol: connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's have another base class
        self._session.start()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        # Called exactly once, however the connection ends: the only place that cleans up.
        if self._error is None:
            reason = "by nsqd" if exc is None else str(exc)
            self._error = ConnectionClosed(str(self.address), reason)
        if self._watch is not None:
            self._watch.cancel()
        for request in self._session.close():
            request.fail(self.reason)
        self._closed.set_result(None)
        if self._was_opened:
            self._listener.connection_lost(self.reason)

    # asyncio.Protocol: data

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        for event in self._session.receive_data(data):
            self._handle(event)
        if self._session.has_output and not self._flush_is_due:
            self._flush_soon()

    def _handle(self, event: Event) -> None:
        match event:
            case Messages(messages):
                self._listener.messages_received(messages)
            case Confirmed(requests):
                self._confirm(requests)
            case Refused(request, refusal):
                # One that drains would refuse again: there is no haste to be back.
                self.was_refused = not refusal.says_draining
                request.fail(refusal)
            case AnswerFailed(code, text):
                self._listener.answer_failed(code, text)
            case CloseWait():
                self._listener.close_wait()
            case StartTls():
                self._steps.put_nowait(event)
            case Opened():
                self._opened(event)
            case Failed(error):
                self.abort(error)

    def _confirm(self, requests: list[Request]) -> None:
        self._answered_at = self._heard_at
        for request in requests:
            request.confirm()
        self._listener.progressed()

    def _opened(self, event: Opened) -> None:
        if not self._session.is_open:
            return  # the same read has ended it: the next event says why
        self._was_opened = True
        self._steps.put_nowait(event)
        self._listener.connection_opened(self)
        self._check()

    # asyncio.Protocol: flow control

    def pause_writing(self) -> None:
        # Reading goes on: if nsqd stopped reading until we read, both would wait for ever.
        self._is_writable = False
        self._wrote_at = self._loop.time()

    def resume_writing(self) -> None:
        self._is_writable = True
        if self._was_opened:
            self._listener.progressed()

    # The watch

    def _check(self) -> None:
        complaint = self._complaint(self._loop.time())
        if complaint is not None:
            self.abort(ConnectionClosed(str(self.address), complaint))
            return
        settings = self._settings
        limits = (settings.silence_max / 2, settings.reply_timeout, settings.write_timeout)
        self._watch = self._loop.call_later(min(limits) / 4, self._check)

    def _complaint(self, now: float) -> str | None:
        settings = self._settings
        if now - self._heard_at > settings.silence_max:
            return f"nothing heard for {now - self._heard_at:.1f} s"
        if self._session.pending and now - self._answered_at > settings.reply_timeout:
            return f"no answer for {now - self._answered_at:.1f} s"
        if not self._is_writable and now - self._wrote_at > settings.write_timeout:
            return f"takes no bytes for {now - self._wrote_at:.1f} s"
        return None

    @property
    def reason(self) -> NsqError:
        """Why the connection ended."""
        return self._error or ConnectionClosed(str(self.address), "by nsqd")
