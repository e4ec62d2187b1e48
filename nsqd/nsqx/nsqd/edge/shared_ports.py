"""
Ports of a host that several nodes take connections from: one address for producers, many cores.

The system gives each new connection to one of the nodes that listen. A node that drains does not:
what a producer begins there would only be refused. Its own ports stay open.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping

from nsqx.net.acceptor import Acceptor
from nsqx.net.addresses import bind_shared, serve, socket_text
from nsqx.protocol.errors import StartupError
from nsqx.runtime.process import logs, tasks

__all__ = ["SharedPorts"]

_Factory = Callable[[], asyncio.BaseProtocol]

_log = logs.get_logger()


class SharedPorts:
    """Bound from the beginning, so that a start fails early; open while the node takes messages."""

    def __init__(self, addresses: Mapping[str, tuple[str, str]]) -> None:
        """
        Bind them.

        Args:
            addresses: for each kind, such as ``TCP``, where, and the flag that says so.

        Raises:
            StartupError: one sentence with the next step. Nothing is left open.
        """
        self._addresses = dict(addresses)
        self._bound: dict[str, socket.socket] = {}
        self._factories: dict[str, _Factory] = {}
        self._acceptors: dict[str, Acceptor] = {}
        self._one_at_a_time = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        self._is_closed = False  # for good
        try:
            for kind in addresses:
                self._bind(kind)
        except StartupError:
            self.release()
            raise

    async def serve(self, kind: str, factory: _Factory, *, is_draining: bool) -> None:
        """Take connections from now on, or from when the node no more drains."""
        if kind in self._addresses:
            self._factories[kind] = factory
            await self._follow(is_draining=is_draining)

    def drain_changed(self, *, is_draining: bool) -> None:
        """Take no connections while the node drains; those that are there stay."""
        if self._factories:
            self._following = tasks.start(self._follow(is_draining=is_draining), "shared ports")

    async def close(self) -> None:
        """Take no more connections, for good."""
        await tasks.wait(self._following)
        async with self._one_at_a_time:
            self._is_closed = True
            await self._close_all()

    def release(self) -> None:
        """Let go of what was bound and is not served."""
        for bound in self._bound.values():
            bound.close()
        self._bound.clear()

    def _bind(self, kind: str) -> socket.socket:
        address, purpose = self._addresses[kind]
        bound = self._bound[kind] = bind_shared(address, purpose)
        # Bound again, after a drain, a name is not looked up once more: that would block.
        self._addresses[kind] = (socket_text(bound.getsockname()), purpose)
        return bound

    async def _follow(self, *, is_draining: bool) -> None:
        async with self._one_at_a_time:
            if is_draining:
                await self._close_all()
            elif not self._is_closed:
                await self._open_all()

    async def _open_all(self) -> None:
        for kind, factory in list(self._factories.items()):
            if kind in self._acceptors:
                continue
            try:
                bound = self._bound.get(kind) or self._bind(kind)
            except StartupError as error:  # somebody else has it by now
                _log.error("%s: the shared port stays closed - %s", kind, error)
                continue
            self._acceptors[kind] = serve(factory, bound)
            del self._bound[kind]
            _log.info("%s: sharing %s", kind, socket_text(bound.getsockname()))

    async def _close_all(self) -> None:
        while self._acceptors:
            _, acceptor = self._acceptors.popitem()
            await acceptor.close()
