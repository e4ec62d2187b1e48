"""
Takes connections from a listener, a few in each turn of the event loop.

Event loops take all that wait, up to hundreds in one turn: those that come together hold everybody
up for as long as all their beginnings take. Here the others have their turns in between, and what
waits stays with the system.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from ssl import SSLContext

__all__ = ["ACCEPTED_PER_TURN", "Acceptor"]

ACCEPTED_PER_TURN = 2
# Of files or memory: the system tells of connections that wait as long as they do.
SCARCE_SECONDS = 1.0
_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """
    Accepts from its making on, until it is closed.

    Args:
        factory: makes what serves a connection.
        listener: listens, and is the acceptor's to close.
        ssl_context: if the connections begin with a TLS handshake.
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        listener: socket.socket,
        ssl_context: SSLContext | None = None,
    ) -> None:
        self._factory = factory
        self._listener = listener
        self._ssl_context = ssl_context
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._resting: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    async def close(self) -> None:
        """Accept no more, and close the listener. Protocols know of all that were accepted."""
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        if self._ssl_context is not None:  # whoever has not shaken hands may never do
            for task in self._beginning:
                task.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SCARCE:
                    raise
                self._rest(error)
                return
            accepted.setblocking(False)
            task = self._loop.create_task(self._begin(accepted))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, accepted: socket.socket) -> None:
        tls = self._ssl_context
        # It is gone already, or its handshake failed, which its end is told.
        with suppress(OSError):
            await self._loop.connect_accepted_socket(self._factory, accepted, ssl=tls)

    def _rest(self, error: OSError) -> None:
        """Accept no more for a while: the loop would be told of the same in each turn."""
        said = {"message": "no connection can be accepted", "exception": error}
        self._loop.call_exception_handler(said)
        self._loop.remove_reader(self._listener)
        self._resting = self._loop.call_later(SCARCE_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._resting = None
        self._loop.add_reader(self._listener, self._accept)
