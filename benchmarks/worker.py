"""
Load processes: each runs one job, apart from the broker and from the process that measures.

    worker                      measuring process
      connects, prepares
      ready            ------>
                       <------  go
      works
      Outcome          ------>
"""

import multiprocessing
import os
import traceback
from array import array
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

_SPAWN = multiprocessing.get_context("spawn")
_READY, _GO = "ready", "go"
_EXIT_SECONDS = 10.0

Job = TypeVar("Job")


class LoadError(Exception):
    """A load process failed; the text is its traceback."""


@dataclass(slots=True)
class Outcome:
    """What one load process did. Times are monotonic ns, comparable between processes."""

    messages: int
    started_ns: int
    ended_ns: int
    cpu_ns: int
    latencies_ns: "array[int]" = field(default_factory=lambda: array("q"))
    lateness_ns: "array[int]" = field(default_factory=lambda: array("q"))


class Pipe:
    """The worker's end."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection

    def wait_for_go(self) -> None:
        self._connection.send(_READY)
        self._connection.recv()


class Worker:
    """
    A load process, seen from the one that measures.

    Use in this order: create (it connects and prepares), ``wait_ready``, ``go``, ``outcome``.
    """

    def __init__(
        self, work: Callable[[Job, Pipe], Outcome], job: Job, cpus: Collection[int] = ()
    ) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        self._process: SpawnProcess = _SPAWN.Process(
            target=_run, args=(work, job, theirs, tuple(cpus)), daemon=True
        )
        self._process.start()
        theirs.close()

    def wait_ready(self) -> None:
        self._receive()

    def go(self) -> None:
        self._connection.send(_GO)

    def outcome(self) -> Outcome:
        """Wait for the work to be done, and for the process to end."""
        result = self._receive()
        assert isinstance(result, Outcome)
        self._process.join(_EXIT_SECONDS)
        return result

    def stop(self) -> None:
        """End the process wherever it is. Harmless when it has ended."""
        self._process.kill()
        self._process.join(_EXIT_SECONDS)

    def _receive(self) -> object:
        try:
            result: object = self._connection.recv()
        except EOFError:
            raise LoadError("a load process died without a word") from None
        if isinstance(result, LoadError):
            raise result
        return result


def _run(
    work: Callable[[Job, Pipe], Outcome],
    job: Job,
    connection: "Connection[Any, Any]",
    cpus: tuple[int, ...],
) -> None:
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        connection.send(work(job, Pipe(connection)))
    except Exception:
        # Whatever it is, the measuring process must hear of it.
        connection.send(LoadError(traceback.format_exc()))
