"""Clients of the broker's core, without connections: what they are sent is kept as messages."""

from dataclasses import dataclass
from itertools import pairwise

from nsqx.protocol.messages import frame_offsets, split_frame

__all__ = ["Received", "RecordingSink", "SilentSink"]


@dataclass(frozen=True)
class Received:
    """A message as it came over the wire."""

    timestamp_ns: int
    attempts: int
    id: int
    body: bytes


class SilentSink:
    """Takes what comes."""

    def __init__(self) -> None:
        self.is_closed = False

    def send(self, data: bytes | bytearray) -> None:
        """See `Sink.send`."""

    def close(self) -> None:
        """See `Sink.close`."""
        self.is_closed = True


class RecordingSink(SilentSink):
    """Keeps what it was sent since `take`."""

    def __init__(self) -> None:
        super().__init__()
        self._received: list[Received] = []

    def send(self, data: bytes | bytearray) -> None:
        """See `Sink.send`."""
        assert not self.is_closed
        offsets = frame_offsets(data)
        assert offsets[-1] == len(data)  # whole frames only
        frames = [data[start:end] for start, end in pairwise(offsets)]
        self._received += [Received(*split_frame(bytes(frame))) for frame in frames]

    def take(self) -> list[Received]:
        """Return what came since the last time."""
        received, self._received = self._received, []
        return received
