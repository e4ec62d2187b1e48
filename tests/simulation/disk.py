"""The disk of a simulated node: slow as it is told to be, and able to end its process anywhere."""

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from greenlet import getcurrent, greenlet

from tests.support.simulated_disk import Content, SimulatedDisk

__all__ = ["NodeDisk", "ProcessEnded"]

T = TypeVar("T")


class ProcessEnded(BaseException):
    """The process ended in the middle of what it did. No handler of the core may catch this."""


class NodeDisk(SimulatedDisk):
    """
    A `SimulatedDisk` whose slow work happens in simulated time.

    What is submitted runs as in a thread: before each of its steps at the disk the event loop goes
    on, and so do other works, for as long as `run_later` says.

    Attributes:
        steps_left: how many changes until the process ends; None: it goes on.
        is_gone: the process that used it has ended.
        run_later: has something called when the disk has got to it.
        chance: decides how much of a last write is there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps_left: int | None = None
        self.is_gone = False
        self.run_later: Callable[[Callable[[], None]], None]
        self.chance: random.Random
        self._workers: set[greenlet] = set()

    def step(self) -> None:
        """End the process if its time has come."""
        self.pause()
        if self.is_gone:
            raise ProcessEnded
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                self.is_gone = True
                raise ProcessEnded

    def pause(self) -> None:
        """Let others go on if this is a work that was submitted."""
        worker = getcurrent()
        if worker in self._workers:
            self.run_later(worker.switch)
            assert worker.parent is not None
            worker.parent.switch()

    def let_go(self) -> None:
        """End works that nobody goes on with: a suspended one holds all that there was."""
        self.is_gone = True
        workers, self._workers = self._workers, set()
        for worker in workers:
            with suppress(ProcessEnded):
                worker.throw(ProcessEnded)

    def write(self, content: Content, data: bytes, offset: int) -> None:
        """
        Write; if the process ends now, all or nothing is there.

        The system completes a write whoever is killed meanwhile. When power is lost the pages of
        the file decide.
        """
        if self.steps_left == 1 and not self.is_gone:
            self.steps_left = None
            if self.chance.random() < 0.5:
                super().write(content, data, offset)
            self.steps_left = 1
            self.step()
        super().write(content, data, offset)

    def submit(
        self,
        work: Callable[[], T],
        done: Callable[[T | None, BaseException | None], None],
        *,
        is_urgent: bool = False,
    ) -> None:
        """See `Storage.submit`."""

        def run() -> None:
            try:
                result = work()
            except Exception as error:
                self.run_later(partial(done, None, error))
            else:
                self.run_later(partial(done, result, None))
            finally:
                self._workers.discard(worker)

        worker = greenlet(run)
        self._workers.add(worker)
        self.run_later(worker.switch)
