"""Long work on the event loop in short steps, and work that may block off it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from nsqx.nsqd.log.storage import Storage

__all__ = ["in_background", "in_steps"]

# How long answers that grow with the broker may hold the event loop before others get their turn.
STEP_NS = 5_000_000

T = TypeVar("T")


async def in_steps(pieces: Iterable[T], clock: Callable[[], int] = time.monotonic_ns) -> list[T]:
    """Collect pieces, letting others run every few milliseconds; a piece is not interrupted."""
    collected: list[T] = []
    step_end_ns = clock() + STEP_NS
    for piece in pieces:
        collected.append(piece)
        if clock() > step_end_ns:
            await asyncio.sleep(0)
            step_end_ns = clock() + STEP_NS
    return collected


async def in_background(storage: Storage, work: Callable[[], T]) -> T:
    """Return what ``work`` returns, which runs in a thread; what it raises is raised here."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def done(result: T | None, error: BaseException | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    storage.submit(work, done)
    return await future
