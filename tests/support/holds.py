"""
How long single steps hold the event loop.

    with measured_holds() as holds:
        await work()
    assert holds.longest_s < 0.02, holds.longest

Counted is the CPU time of the loop's thread, which other programs on the machine do not lengthen
as they do the time on the clock. What the tests have loaded is kept from the garbage collector,
whose visits to it would count. Only for asyncio's own event loop.
"""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

__all__ = ["Holds", "measured_holds"]


class Holds:
    """The longest step so far: its CPU seconds, and what was called."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.longest = ""

    def add(self, seconds: float, handle: asyncio.Handle) -> None:
        """Note a step."""
        if seconds > self.longest_s:
            self.longest_s, self.longest = seconds, f"{seconds * 1000:.1f} ms in {handle!r}"


@contextmanager
def measured_holds() -> Iterator[Holds]:
    """Measure all steps of event loops of this thread."""
    holds = Holds()
    run: Any = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        holds.add(time.thread_time() - began, handle)

    gc.collect()
    gc.freeze()
    try:
        with mock.patch.object(asyncio.Handle, "_run", measured):
            yield holds
    finally:
        gc.unfreeze()
