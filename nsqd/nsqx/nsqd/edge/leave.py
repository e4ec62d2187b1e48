"""
How a node that stops takes leave of its clients, each step within a time.

    stop deliveries     clients may still answer the messages they hold
    wait for answers    publishes under way get theirs: under fsync, when the disk has them
    wait for finishes   of what clients hold, as long as --drain-timeout says: what is finished
                        now is not delivered again after the start
    disconnect          what is left to send goes out before; who does not read it is cut off
"""

import asyncio
from collections.abc import Callable

from nsqx.nsqd.edge.tcp import TcpServer
from nsqx.runtime.process import logs

__all__ = ["take_leave"]

ANSWERS_S_MAX = 5.0
POLL_S = 0.02  # clients tell nobody that they are done; a stop is no hot path

_log = logs.get_logger("TCP")


async def take_leave(clients: TcpServer, drain_s: float) -> None:
    """End all connections in order. The node's clocks must run meanwhile: they end slow ones."""
    clients.stop_deliveries()
    await _wait(lambda: clients.has_answered, ANSWERS_S_MAX)
    if drain_s and not clients.is_idle:
        _log.info("waiting for clients to finish what they hold, at most %g s", drain_s)
        await _wait(lambda: clients.is_idle, drain_s)
    clients.close_all()
    await _wait(lambda: not clients.connections, ANSWERS_S_MAX)
    clients.abort_all()


async def _wait(is_reached: Callable[[], bool], seconds_max: float) -> None:
    """Return when it is reached, or it has taken too long."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + seconds_max
    while not is_reached() and loop.time() < end_s:  # noqa: ASYNC110 - it is the clients' state
        await asyncio.sleep(POLL_S)
