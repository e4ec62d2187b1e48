"""
Writes lines to a file descriptor whose reader may be slow, and never waits for it.

Theory of operation. As long as the reader keeps up, a line is written at once, by whoever has it:
what was logged before a crash is there. When the descriptor takes no more, lines wait in a bounded
buffer, and a thread writes them as the reader takes them; it ends when none is left. When the
buffer is full too, lines are dropped until it is empty again, and then one line says how many.

    DIRECT ──the descriptor takes no more──▶ BUFFERED ──the buffer is full──▶ DROPPING
      ▲                                         │                                │
      └──────────────the buffer is empty────────┴────────────────────────────────┘
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum

__all__ = ["LineWriter"]

BUFFER_BYTES_MAX = 1024 * 1024
# A pipe that can be written to takes this much without making anybody wait.
PIECE_BYTES = 4096


class _State(Enum):
    DIRECT = "lines are written at once"
    BUFFERED = "lines wait for the thread"
    DROPPING = "there is no room: lines are lost"


class LineWriter:
    """
    A descriptor and what waits for it. Can be used by any thread.

    Attributes:
        dropped: how many lines were lost, ever.
    """

    def __init__(
        self,
        fd: int,
        say_dropped: Callable[[int], None],
        *,
        buffer_bytes_max: int = BUFFER_BYTES_MAX,
    ) -> None:
        """``say_dropped`` writes a line that tells how many were lost, by `write` again."""
        self.fd = fd
        self.dropped = 0
        self._say_dropped = say_dropped
        self._buffer_bytes_max = buffer_bytes_max
        self._lock = threading.RLock()
        self._emptied = threading.Condition(self._lock)
        self._state = _State.DIRECT
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped_unsaid = 0

    def write(self, line: bytes) -> None:
        """Write a line, now or later or, if the reader is far behind, never."""
        with self._lock:
            if self._state is _State.DIRECT:
                line = self._write_now(line)
            if not line:
                return
            if self._state is _State.DIRECT:
                # Whatever its size: its beginning may be written already.
                self._state = _State.BUFFERED
                threading.Thread(target=self._drain, args=(line,), name="log", daemon=True).start()
            elif self._state is _State.DROPPING or not self._has_room(line):
                self._state = _State.DROPPING
                self.dropped += 1
                self._dropped_unsaid += 1
            else:
                self._waiting.append(line)
                self._waiting_bytes += len(line)

    def flush(self, seconds_max: float) -> None:
        """Wait until all is written, but not longer than this."""
        with self._lock:
            self._emptied.wait_for(lambda: self._state is _State.DIRECT, seconds_max)

    def _has_room(self, line: bytes) -> bool:
        return self._waiting_bytes + len(line) <= self._buffer_bytes_max

    def _write_now(self, line: bytes) -> bytes:
        """Write what the descriptor takes without waiting; return the rest."""
        try:
            while line and _is_writable(self.fd, 0):
                line = line[os.write(self.fd, line[:PIECE_BYTES]) :]
        except BlockingIOError:
            pass  # somebody made it non-blocking, and it is full
        except OSError:
            return b""  # a reader that went away must not stop the daemon
        return line

    def _drain(self, line: bytes | None) -> None:
        """Write a line and what waits behind it, in a thread of its own."""
        while line is not None:
            while line:
                _is_writable(self.fd, None)
                line = self._write_now(line)
            line = self._next()

    def _next(self) -> bytes | None:
        """Return the next line to be written, None if there is none any more."""
        with self._lock:
            if not self._waiting and self._dropped_unsaid:
                count, self._dropped_unsaid = self._dropped_unsaid, 0
                self._state = _State.BUFFERED
                self._say_dropped(count)
            if not self._waiting:
                self._state = _State.DIRECT
                self._emptied.notify_all()
                return None
            line = self._waiting.popleft()
            self._waiting_bytes -= len(line)
            return line


def _is_writable(fd: int, timeout_ms: int | None) -> bool:
    """Return whether writing would not wait, or fail at once; None waits until then."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(timeout_ms))
