"""The disk of a simulated node: slow as it is told to be, and able to end its process anywhere."""

import random
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tests.support.simulated_disk import Content, SimulatedDisk

__all__ = ["NodeDisk", "ProcessEnded"]

T = TypeVar("T")


class ProcessEnded(BaseException):
    """The process ended in the middle of what it did. No handler of the core may catch this."""


class NodeDisk(SimulatedDisk):
    """
    A `SimulatedDisk` whose slow work happens in simulated time.

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

    def step(self) -> None:
        """End the process if its time has come."""
        if self.is_gone:
            raise ProcessEnded
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                self.is_gone = True
                raise ProcessEnded

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

    def replace_file(self, path: str, data: bytes, *, sync: bool = True) -> None:
        """Replace; if the process ends now, the temporary file is left over."""
        if self.steps_left == 1 and not self.is_gone:
            self.steps_left = None
            part = data[: self.chance.randrange(len(data) + 1)]
            super().replace_file(f"{path}.tmp", part, sync=False)
            self.steps_left = 1
        super().replace_file(path, data, sync=sync)

    def submit(
        self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """See `Storage.submit`."""
        self.run_later(partial(self._work, work, done))

    def _work(
        self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        try:
            result = work()
        except Exception as error:
            self.run_later(partial(done, None, error))
        else:
            self.run_later(partial(done, result, None))
