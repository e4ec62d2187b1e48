"""What is done to a broker while clients work, again and again until the time is over."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.processes import BrokerProcess, Process

__all__ = ["FAULTS", "Target"]

PAUSE_SECONDS = 1.0  # between faults


@dataclass(slots=True)
class Target:
    """What can be hurt. ``lookupd`` is None when the clients know their brokers."""

    broker: BrokerProcess
    lookupd: Process | None


async def _nothing(target: Target) -> None:
    await asyncio.sleep(PAUSE_SECONDS)


async def _kill(target: Target) -> None:
    await target.broker.end(signal.SIGKILL)
    await target.broker.start()


async def _terminate(target: Target) -> None:
    await target.broker.end(signal.SIGTERM)
    await target.broker.start()


async def _stop(target: Target) -> None:
    target.broker.send_signal(signal.SIGSTOP)
    await asyncio.sleep(2 * PAUSE_SECONDS)
    target.broker.send_signal(signal.SIGCONT)


async def _stop_and_kill(target: Target) -> None:
    target.broker.send_signal(signal.SIGSTOP)
    await asyncio.sleep(PAUSE_SECONDS)
    await target.broker.end(signal.SIGKILL)
    await target.broker.start()


async def _cut(target: Target) -> None:
    target.broker.proxy.cut()


async def _stall(target: Target) -> None:
    target.broker.proxy.stall(True)
    await asyncio.sleep(3 * PAUSE_SECONDS)
    target.broker.proxy.stall(False)


async def _disk_full(target: Target) -> None:
    target.broker.refuse_writes(True)
    await asyncio.sleep(PAUSE_SECONDS)
    target.broker.refuse_writes(False)


async def _disk_full_and_kill(target: Target) -> None:
    target.broker.refuse_writes(True)
    await asyncio.sleep(PAUSE_SECONDS)
    await target.broker.end(signal.SIGKILL)
    await target.broker.start()


async def _kill_lookupd(target: Target) -> None:
    assert target.lookupd is not None
    await target.lookupd.end(signal.SIGKILL)
    await asyncio.sleep(PAUSE_SECONDS)
    await target.lookupd.start()


FAULTS: dict[str, Callable[[Target], Awaitable[None]]] = {
    "none": _nothing,
    "kill -9": _kill,
    "SIGTERM": _terminate,
    "SIGSTOP": _stop,
    "SIGSTOP, kill -9": _stop_and_kill,
    "connections cut": _cut,
    "connections stalled": _stall,
    "disk full": _disk_full,
    "disk full, kill -9": _disk_full_and_kill,
    "nsqlookupd killed": _kill_lookupd,
}
