"""Keeps one nsqlookupd connected. Carries bytes and time to its core and decides nothing."""

import asyncio
import random
from collections.abc import Callable
from ssl import SSLContext
from typing import cast

from nsqx.net.addresses import TcpAddress
from nsqx.nsqd.directory.lookup_peer import LookupPeer, State
from nsqx.runtime.process import logs, tasks

__all__ = ["LookupConnection", "PeerTls"]

_log = logs.get_logger("LOOKUPD")

# How TLS is spoken: the context, and the name that the certificate must have.
PeerTls = tuple[SSLContext, str]


class LookupConnection:
    """
    The task that connects to one address, again and again until it is stopped.

    Attributes:
        peer: the state of the connection.
        tried: set when the first attempt has come to an end, good or bad.
    """

    def __init__(
        self,
        address: TcpAddress,
        peer: LookupPeer,
        changed: Callable[[], None],
        tls: PeerTls | None = None,
    ) -> None:
        """``changed`` is called when it was connected, lost, or could not be connected."""
        self.address = address
        self.peer = peer
        self.tried = asyncio.Event()
        self._changed = changed
        self._tls = tls
        self._link: _Link | None = None
        self._is_flushing = False
        self._is_failing = False  # so that an outage is logged once
        self._is_renewed = False
        self._loop = asyncio.get_running_loop()
        self._task = tasks.start(self._run(), f"nsqlookupd {address}")

    @property
    def is_connected(self) -> bool:
        """Whether it knows this node."""
        return self.peer.state is State.PRESENT

    async def stop(self) -> None:
        """Close the connection; nsqlookupd forgets this node then."""
        await tasks.stop(self._task)

    def renew(self) -> None:
        """Say anew who this node is, by a new connection: there is no other way."""
        if self._link is not None:
            self._is_renewed = True
            self._link.abort()

    # What the node has

    def register(self, topic: str, channel: str | None = None) -> None:
        """See `LookupPeer.register`."""
        self.peer.register(topic, channel)
        self._flush_soon()

    def unregister(self, topic: str, channel: str | None = None) -> None:
        """See `LookupPeer.unregister`."""
        self.peer.unregister(topic, channel)
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Send what this turn of the event loop brings with one write."""
        if self._link is not None and not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if self._link is not None:
            self._link.send(self.peer.take_output(self._loop.time()))

    # Connecting

    async def _run(self) -> None:
        while True:
            reason = await self._attempt()
            if self._is_renewed:
                self._is_renewed = False
                self.peer.lost(0)
                continue
            self._log_failure(reason)
            delay_s = self.peer.lost(random.random())
            self.tried.set()
            self._changed()
            await asyncio.sleep(delay_s)

    async def _attempt(self) -> str:
        """Connect and stay connected; return why that is over."""
        link = self._link = _Link(self)
        try:
            await self._connect(link)
            return await link.over
        except TimeoutError:
            return f"no connection in {self.peer.timing.connect_s:g} s"
        except OSError as error:  # ssl.SSLError is one
            return error.strerror or str(error)
        finally:
            self._link = None
            link.abort()

    async def _connect(self, link: "_Link") -> None:
        context, name = self._tls or (None, None)
        host, port = self.address.host, self.address.port
        async with asyncio.timeout(self.peer.timing.connect_s):
            await self._loop.create_connection(
                lambda: link, host, port, ssl=context, server_hostname=name
            )

    def introduced(self) -> None:
        """Note that nsqlookupd has answered to IDENTIFY."""
        if not self.tried.is_set() or self._is_failing:
            _log.info("(%s): connected", self.address)
        self._is_failing = False
        self.tried.set()
        self._changed()

    def _log_failure(self, reason: str) -> None:
        level = logs.Level.DEBUG if self._is_failing else logs.Level.ERROR
        _log.log(level, "(%s): %s; trying on", self.address, reason)
        self._is_failing = True


class _Link(asyncio.Protocol):
    """One connection that was made."""

    def __init__(self, owner: LookupConnection) -> None:
        self._owner = owner
        self._peer = owner.peer
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.over: asyncio.Future[str] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.send(self._peer.connected(self._loop.time()))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost ({exc})" if exc else "connection closed by nsqlookupd")

    def data_received(self, data: bytes) -> None:
        was_present = self._peer.state is State.PRESENT
        output = self._peer.receive_data(data, self._loop.time())
        if not was_present and self._peer.state is State.PRESENT:
            self._owner.introduced()
        self.send(output)

    def _tick(self) -> None:
        self.send(self._peer.tick(self._loop.time()))

    def send(self, output: bytes) -> None:
        """Write, and see when to look again; close if the core has given up."""
        if self.over.done() or self._transport is None:
            return
        if output:
            self._transport.write(output)
        if self._timer is not None:
            self._timer.cancel()
        if self._peer.error is not None:
            self._end(self._peer.error)
            self._transport.abort()
        else:
            self._timer = self._loop.call_at(self._peer.next_at, self._tick)

    def abort(self) -> None:
        """Close at once. Fine when it is closed."""
        self._end("stopped")
        if self._transport is not None:
            self._transport.abort()

    def _end(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.over.done():
            self.over.set_result(reason)
