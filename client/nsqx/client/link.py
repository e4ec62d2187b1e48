"""Keeps one address connected: connects, waits until the connection is lost, and begins again."""

import asyncio
import logging
import random
from collections.abc import Callable

from nsqx.client.addresses import Address
from nsqx.client.connection import Listener, connect
from nsqx.client.errors import ConnectFailed
from nsqx.client.reconnect import ReconnectDelays
from nsqx.client.settings import Settings
from nsqx.client.tasks import start

__all__ = ["Link"]

_log = logging.getLogger("nsqx.client")

# A connection that lived so long worked. One that nsqd accepts and drops at once did not, and
# must not be tried again without delay.
WORKED_SECONDS = 1.0


class Link:
    """
    One address and the task that keeps it connected.

    ``make_listener`` is called for each attempt; the listener learns of the connection by
    ``connection_opened`` and ``connection_lost``.
    """

    def __init__(
        self, address: Address, settings: Settings, make_listener: Callable[[], Listener]
    ) -> None:
        self.address = address
        self.last_error: ConnectFailed | None = None
        self._settings = settings
        self._make_listener = make_listener
        self._delays = ReconnectDelays(settings.reconnect_delay, settings.reconnect_delay_max)
        self._tried = asyncio.Event()
        self._awake = asyncio.Event()
        self._task = start(self._run(), f"nsqx link to {address}")

    async def first_try(self) -> None:
        """
        Wait until the first attempt is over.

        Raises:
            ConnectFailed: the last attempt failed.
        """
        await self._tried.wait()
        if self.last_error is not None:
            raise self.last_error

    def hurry(self) -> None:
        """If it waits before the next attempt, try now."""
        self._awake.set()

    def stop(self) -> asyncio.Task[None]:
        """
        Make no more attempts. An open connection is left to its owner.

        Returns:
            The task, to be waited for.
        """
        self._task.cancel()
        return self._task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection = await connect(self.address, self._settings, self._make_listener())
            except ConnectFailed as exc:
                self._failed(exc)
            else:
                opened_at, self.last_error = loop.time(), None
                self._tried.set()
                _log.info("connected to %s", self.address)
                await connection.wait_closed()
                _log.warning("%s", connection.reason)
                if loop.time() - opened_at >= WORKED_SECONDS:
                    self._delays.reset()
                if connection.was_refused:
                    continue  # one user's mistake, and others wait
            await self._pause(self._delays.next(random.random()))

    def _failed(self, error: ConnectFailed) -> None:
        # Once per outage: an address that stays away is not worth a line every few seconds.
        level = logging.DEBUG if self.last_error is not None else logging.WARNING
        _log.log(level, "%s", error)
        self.last_error = error
        self._tried.set()

    async def _pause(self, seconds: float) -> None:
        self._awake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        except TimeoutError:
            pass
