"""Lines out of a byte stream: split without I/O, and read without blocking the event loop."""

import os

from nsqx.apps.blocking import in_thread
from nsqx.protocol.errors import NsqxError

__all__ = ["LINE_BYTES_MAX", "LineSplitter", "LineTooLongError", "read_chunk"]

# More than any nsqd takes as a message; a file without line ends must not fill the memory.
LINE_BYTES_MAX = 64 << 20
CHUNK_BYTES = 1 << 20


class LineTooLongError(NsqxError):
    """No line end came within so many bytes."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"a line is longer than {bytes_max} bytes")


class LineSplitter:
    """
    Cuts a stream at line feeds, or at another byte. Empty lines are dropped, since a message
    cannot be empty.

    A carriage return is a part of its line, as in nsqd's ``/mpub``.

    Attributes:
        empty: how many lines were dropped.
    """

    def __init__(self, delimiter: bytes = b"\n", *, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self.empty = 0
        self._delimiter = delimiter
        self._line_bytes_max = line_bytes_max
        self._begun: list[bytes] = []  # of a line whose end has not come
        self._begun_bytes = 0

    def receive(self, data: bytes) -> list[bytes]:
        """
        Return the lines that ``data`` completes.

        Raises:
            LineTooLongError: the stream cannot go on.
        """
        *complete, rest = data.split(self._delimiter)
        if complete:
            complete[0] = b"".join([*self._begun, complete[0]])
            self._begun.clear()
            self._begun_bytes = 0
        if rest:
            self._begun.append(rest)
            self._begun_bytes += len(rest)
        if self._begun_bytes > self._line_bytes_max:
            raise LineTooLongError(self._line_bytes_max)
        return self._without_empty(complete)

    def receive_end(self) -> list[bytes]:
        """Return the last line if it has no line feed."""
        last = b"".join(self._begun)
        self._begun.clear()
        return [last] if last else []

    def _without_empty(self, lines: list[bytes]) -> list[bytes]:
        full = [line for line in lines if line]
        self.empty += len(lines) - len(full)
        return full


async def read_chunk(descriptor: int) -> bytes:
    """
    Read what there is, up to a megabyte; nothing at the end. Waits for the first byte.

    Raises:
        OSError: the read failed.
    """
    return await in_thread(lambda: os.read(descriptor, CHUNK_BYTES))
