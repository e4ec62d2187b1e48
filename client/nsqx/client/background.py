"""An event loop in a thread of its own, for code that has none."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

__all__ = ["BackgroundLoop"]

T = TypeVar("T")


class BackgroundLoop:
    """
    A thread that runs an event loop from ``start`` to ``stop``.

    ``run`` and ``call`` may be used from any thread but its own, where they would wait for
    themselves. It is a daemon thread: a program that forgets to stop it still ends. A child made by
    ``fork`` has no such thread; it is told so.
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
        self._pid = 0
        self._submitted: dict[Future[Any], Coroutine[Any, Any, Any]] = {}  # and not done

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """
        The event loop.

        Raises:
            RuntimeError: it does not run.
        """
        if self._loop is None:
            raise RuntimeError(f"the event loop of {self._name} does not run")
        if self._pid != os.getpid():
            raise RuntimeError(f"{self._name}: made before fork; make a new one in the child")
        return self._loop

    def start(self) -> None:
        """Return when the loop runs."""
        assert self._thread is None, "started before"
        started = threading.Event()
        self._pid = os.getpid()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name=self._name, daemon=True
        )
        self._thread.start()
        started.wait()

    def stop(self) -> None:
        """Cancel what is left, and wait for the thread. Does nothing when it does not run."""
        if self._pid != os.getpid():
            self._loop = None  # the thread is the parent's
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = None
            for future, work in list(self._submitted.items()):
                future.cancel()  # nobody else ends what came too late to be run
                work.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """
        Start a coroutine. The future is cancelled if the loop is stopped before it is done.

        Raises:
            RuntimeError: the loop does not run.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:
            work.close()
            raise
        self._submitted[future] = work
        future.add_done_callback(self._forget)
        if self._loop is None:  # stopped just now
            future.cancel()
            work.close()
        return future

    def _forget(self, future: "Future[Any]") -> None:
        self._submitted.pop(future, None)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Run a coroutine, and wait for it. If the wait is interrupted, it is cancelled.

        Raises:
            RuntimeError: the loop does not run, or was stopped meanwhile.
        """
        try:
            self.check_thread()
        except RuntimeError:
            work.close()
            raise
        future = self.submit(work)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError(f"{self._name} was stopped meanwhile") from None
        finally:
            future.cancel()

    def check_thread(self) -> None:
        """
        Refuse a call that would wait for the thread it is made in.

        Raises:
            RuntimeError: this is the loop's own thread, or a child of its process.
        """
        assert self.loop is not None  # which raises
        if threading.current_thread() is self._thread:
            raise RuntimeError(f"{self._name}: a call from its own event loop would wait for ever")

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
