"""Reads and writes that may block for ever, beside the event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_thread"]

Result = TypeVar("Result")
Outcome = TypeVar("Outcome")


async def in_thread(function: Callable[[], Result]) -> Result:
    """
    Call ``function`` in a thread of its own, and return or raise what it does.

    Files cannot be polled, so a thread it is. Not one of the event loop's: those are joined at the
    end, and one that waits for a terminal or for a full pipe would keep the program from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def run() -> None:
        try:
            result = function()
        except Exception as exc:
            tell(future.set_exception, exc)
        else:
            tell(future.set_result, result)

    def tell(settle: Callable[[Outcome], None], outcome: Outcome) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if future.done() else settle(outcome))

    threading.Thread(target=run, name="nsqx blocking", daemon=True).start()
    return await future
