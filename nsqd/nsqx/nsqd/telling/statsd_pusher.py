"""Sends what `StatsdReport` says to a statsd daemon, round after round (metrics section 1)."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from nsqx.net.addresses import TcpAddress
from nsqx.nsqd.edge.steps import in_steps
from nsqx.nsqd.telling.statsd import StatsdReport, packets
from nsqx.runtime.process import logs, tasks

__all__ = ["StatsdPusher"]

# The packets of a round are spread over its interval but for this, which belongs to the next.
GAP_S = 1.0

_log = logs.get_logger("STATSD")


class StatsdPusher:
    """
    A round per interval, the first one interval after `start`.

    ``memory`` gives the memory statistics, or None to leave them out.
    """

    def __init__(
        self,
        report: StatsdReport,
        address: TcpAddress,
        *,
        interval_s: float,
        packet_bytes_max: int,
        memory: Callable[[], Mapping[str, int] | None],
    ) -> None:
        self._report = report
        self._address = address
        self._interval_s = interval_s
        self._packet_bytes_max = packet_bytes_max
        self._memory = memory
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_failing = False  # so that an outage is logged once

    def start(self) -> None:
        """Begin."""
        self._task = tasks.start(self._run(), f"statsd {self._address}")

    async def stop(self) -> None:
        """Send what is left of the round under way, without waiting between packets, and end."""
        self._stopping.set()
        await tasks.wait(self._task)

    async def push(self) -> None:
        """Send one round: the first packet at once, the others evenly over the interval."""
        lines = await in_steps(self._report.lines(self._memory()))
        await self._send(packets(lines, self._packet_bytes_max))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_s = loop.time() + self._interval_s
        while not await self._stopped_within(next_s - loop.time()):
            next_s += self._interval_s
            await self.push()

    async def _send(self, waiting: list[bytes]) -> None:
        pause_s = max(0.0, self._interval_s - GAP_S) / max(1, len(waiting))
        loop = asyncio.get_running_loop()
        try:
            # A new socket each round: the name may have moved to another address.
            transport, _ = await loop.create_datagram_endpoint(
                _Ignore, remote_addr=(self._address.host, self._address.port)
            )
        except (OSError, UnicodeError) as error:  # a name that is none, too
            if not self._is_failing:
                _log.error("failed to create UDP socket to statsd(%s): %s", self._address, error)
            self._is_failing = True
            return
        self._is_failing = False
        try:
            for packet in waiting:
                transport.sendto(packet)
                await self._stopped_within(pause_s)
        finally:
            transport.close()

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()


class _Ignore(asyncio.DatagramProtocol):
    """statsd never answers; that nobody listens is no reason to stop."""
