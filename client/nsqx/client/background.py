"""An event loop in a thread of its own, for code that has none."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["BackgroundLoop"]

T = TypeVar("T")


class BackgroundLoop:
    """
    A thread that runs an event loop from ``start`` to ``stop``.

    ``run`` and ``call`` may be used from any thread but its own. It is a daemon thread: a program
    that forgets to stop it still ends.
    """

    def __init__(
        self,
        name: str,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._name = name
        self._loop_factory = loop_factory
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """
        The event loop.

        Raises:
            RuntimeError: it does not run.
        """
        if self._loop is None:
            raise RuntimeError(f"the event loop of {self._name} does not run")
        return self._loop

    def start(self) -> None:
        """Return when the loop runs."""
        assert self._thread is None, "started before"
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name=self._name, daemon=True
        )
        self._thread.start()
        started.wait()

    def stop(self) -> None:
        """Cancel what is left, and wait for the thread. Does nothing when it does not run."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = None

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, and wait for it. If the wait is interrupted, it is cancelled."""
        future = self.submit(work)
        try:
            return future.result()
        finally:
            future.cancel()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the loop's thread, and wait for it."""

        async def called() -> T:
            return function()

        return self.run(called())

    def post(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop's thread, and do not wait for it."""
        self.loop.call_soon_threadsafe(function)

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            self._loop = runner.get_loop()
            self._loop.call_soon(started.set)
            self._loop.run_forever()
