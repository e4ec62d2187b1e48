"""
Consumes and finishes as fast as the broker delivers.

All consumers of a topic, of all its channels, live in one process, which ends when each channel has
delivered ``messages``. A read is answered with one write: the FINs of all messages in it.
"""

import struct
import time
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.link import Link, Target, readiness
from benchmarks.wire import (
    BODY_OFFSET,
    HEARTBEAT,
    ID_BYTES,
    ID_OFFSET,
    MESSAGE,
    NOP,
    BrokerError,
    FinRun,
    complete_frames,
    fin,
    message_header,
    rdy,
    sub,
)
from benchmarks.worker import Outcome, Pipe

READY_COUNT = 2500  # nsqd's largest
_BUFFER_BYTES = 1 << 18
STAMPS = struct.Struct(">qq")  # in the body: when it was due, when it was sent; monotonic ns


@dataclass(frozen=True, slots=True)
class ConsumeJob:
    """
    ``connections`` is per channel. A pause after each round of reads makes a slow consumer.
    """

    target: Target
    topic: str
    channels: tuple[str, ...]
    messages: int
    body_bytes: int
    connections: int
    ready_count: int = READY_COUNT
    pause_seconds: float = 0.0


SomeConsumer = TypeVar("SomeConsumer", bound="Consumer")


def consume(job: ConsumeJob, pipe: Pipe) -> Outcome:
    """Run in a process of its own. Subscribes, and asks for messages when told to go."""
    consumers = {consumer.fileno: consumer for consumer in subscribe(Consumer, job)}
    ready = readiness(list(consumers))
    pipe.wait_for_go()
    started_ns, cpu_started_ns = time.monotonic_ns(), time.process_time_ns()
    for consumer in consumers.values():
        consumer.start()
    left = dict.fromkeys(job.channels, job.messages)
    while left:
        for fileno, _ in ready():
            consumer = consumers[fileno]
            count = consumer.receive()
            if consumer.channel in left:
                left[consumer.channel] -= count
                if left[consumer.channel] <= 0:
                    del left[consumer.channel]
        if job.pause_seconds:
            time.sleep(job.pause_seconds)
    return Outcome(
        messages=sum(consumer.finished for consumer in consumers.values()),
        started_ns=started_ns,
        ended_ns=time.monotonic_ns(),
        cpu_ns=time.process_time_ns() - cpu_started_ns,
    )


def consume_one(job: ConsumeJob) -> int:
    """Wait for one message, in this process, and finish it. Returns how many it finished: 1."""
    with closing(Link(job.target)) as link:
        link.call(sub(job.topic, job.channels[0]))
        link.send(link.encode(rdy(1)))
        data = b""
        frames: list[tuple[int, bytes]] = []
        while not any(kind == MESSAGE for kind, _ in frames):
            data += link.receive(_BUFFER_BYTES)
            frames, _ = complete_frames(data)
        fins = [_finish(data) for kind, data in frames if kind == MESSAGE]
        # RDY 0 first: a FIN would bring another message, and nobody to finish it.
        link.send(link.encode(rdy(0) + b"".join(fins)))
    return 1


def subscribe(kind: type[SomeConsumer], job: ConsumeJob) -> Iterator[SomeConsumer]:
    """Open the job's connections, subscribed, with RDY still 0."""
    for channel in job.channels:
        for _ in range(job.connections):
            link = Link(job.target)
            link.call(sub(job.topic, channel))
            yield kind(link, channel, job)


class Consumer:
    """One subscribed connection."""

    def __init__(self, link: Link, channel: str, job: ConsumeJob) -> None:
        self.channel = channel
        self.fileno = link.fileno
        self.finished = 0
        self._link = link
        self._ready_count = job.ready_count
        self._header = message_header(job.body_bytes)
        self._stride = BODY_OFFSET + job.body_bytes
        size = max(_BUFFER_BYTES, 4 * self._stride)
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._fins = FinRun(self._stride, size // self._stride)

    def start(self) -> None:
        self._link.send(self._link.encode(rdy(self._ready_count)))

    def receive(self) -> int:
        """Read until nothing is left that epoll would not show; return the messages finished."""
        count = self._receive_once()
        while self._link.decoded_bytes():
            count += self._receive_once()
        self.finished += count
        return count

    def _receive_once(self) -> int:
        received = self._link.receive_into(self._view[self._filled :])
        if not received:
            raise BrokerError("the broker closed a consumer's connection")
        self._filled += received
        count = self._filled // self._stride
        if self._filled < len(self._header):
            return 0
        if not self._uniform(count):
            return self._finish_each()
        if not count:
            return 0
        self._note(count)
        self._link.send(self._encode(self._fins.build(self._buffer, count)))
        self._keep(count * self._stride)
        return count

    def _uniform(self, count: int) -> bool:
        """
        Whether the buffer holds nothing but messages of the expected size.

        It is enough to look at the first and the last: any other frame between them would shift
        the last away from its place.
        """
        buffer, last = self._buffer, max(0, count - 1) * self._stride
        return buffer.startswith(self._header) and buffer.startswith(self._header, last)

    def _note(self, count: int) -> None:
        """For subclasses: ``count`` messages lie at the start of the buffer."""

    def _encode(self, fins: memoryview) -> bytes | memoryview:
        # Plain links send the view itself: no copy.
        return fins if not self._link.compressed else self._link.encode(bytes(fins))

    def _finish_each(self) -> int:
        """The slow way, for reads that hold a heartbeat or an error."""
        frames, rest = complete_frames(bytes(self._view[: self._filled]))
        answers = []
        for kind, data in frames:
            if kind == MESSAGE:
                answers.append(_finish(data))
            elif data == HEARTBEAT:
                answers.append(NOP)
            elif data != b"OK":
                raise BrokerError(data.decode(errors="replace"))
        self._link.send(self._link.encode(b"".join(answers)))
        self._keep(self._filled - len(rest))
        return sum(kind == MESSAGE for kind, _ in frames)

    def _keep(self, start: int) -> None:
        rest = self._filled - start
        self._buffer[:rest] = self._buffer[start : self._filled]
        self._filled = rest


class StampedConsumer(Consumer):
    """Reads the two times in each body: latency is now - due, lateness sent - due."""

    def __init__(self, link: Link, channel: str, job: ConsumeJob) -> None:
        super().__init__(link, channel, job)
        self.latencies_ns = array("q")
        self.lateness_ns = array("q")

    def _note(self, count: int) -> None:
        now_ns = time.monotonic_ns()
        for start in range(BODY_OFFSET, count * self._stride, self._stride):
            due_ns, sent_ns = STAMPS.unpack_from(self._buffer, start)
            self.latencies_ns.append(now_ns - due_ns)
            self.lateness_ns.append(sent_ns - due_ns)


def _finish(message: bytes) -> bytes:
    """The FIN of a message, given without its frame's header."""
    return fin(message[ID_OFFSET - 8 : ID_OFFSET - 8 + ID_BYTES])


def merge(parts: "Iterator[array[int]]") -> "array[int]":
    """One array of all."""
    merged = array("q")
    for part in parts:
        merged.extend(part)
    return merged
