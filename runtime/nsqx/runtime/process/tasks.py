"""
Tasks that somebody owns: what ends by an exception is logged and counted, and ends nobody else.

    self._task = tasks.start(self._run(), "statsd")        from start
    await tasks.stop(self._task)                           to stop
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from nsqx.runtime.metrics import Family, told
from nsqx.runtime.numbers import PROCESS, number_of
from nsqx.runtime.process.logs import get_logger

__all__ = ["families", "handle_loop_errors", "start", "stop", "wait"]

Result = TypeVar("Result")

_log = get_logger()
# The event loop itself keeps no task alive.
_running: set[asyncio.Task[Any]] = set()
_crashed: dict[str, int] = {}  # how often, by the first word of the name


def start(work: Coroutine[Any, Any, Result], name: str) -> "asyncio.Task[Result]":
    """Run something beside; its name is for the log and begins with what it is."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


async def wait(task: "asyncio.Task[Any] | None") -> None:
    """Wait for the end of a task, whatever that is."""
    if task is not None:
        await asyncio.wait([task])


async def stop(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task and wait for its end."""
    if task is not None:
        task.cancel()
        await wait(task)


def handle_loop_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log what nobody caught in this loop, instead of letting asyncio write to stderr itself."""
    loop.set_exception_handler(_loop_error)


def families() -> Iterator[Family]:
    """Yield how many tasks ended by an exception."""
    yield told(number_of(PROCESS, "crashed_tasks"), sum(_crashed.values()))


def _ended(task: "asyncio.Task[Any]") -> None:
    _running.discard(task)
    if task.cancelled() or (error := task.exception()) is None:
        return
    name = task.get_name()
    kind = name.partition(" ")[0]
    _crashed[kind] = _crashed.get(kind, 0) + 1
    _log.error("%s ended by an error: %r", name, error, exc_info=error)


def _loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    _crashed["loop"] = _crashed.get("loop", 0) + 1
    with suppress(OSError):
        _log.error("%s: %r", context.get("message", "event loop"), error, exc_info=error)
