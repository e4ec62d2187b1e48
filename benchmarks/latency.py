"""
End-to-end latency at a fixed rate, whatever the broker does (an open loop).

Message i is due at ``start + i / rate``. When the generator wakes it sends everything that is due,
each message by its own PUB, stamped with when it was due and when it was really sent. Latency
counts from *due*, so a broker that stalls is charged with every message that had to wait, also
those not yet sent (no "coordinated omission"). The difference of the two stamps says how much of
the latency is the generator's own lateness.

Producers and consumers share one process here. With two, and the broker, three busy processes
compete for the two processors of a small machine, and what is measured is the scheduler: then
p99 at 20,000 messages/s is one time slice, 3 to 4 ms, for any broker.
"""

import contextlib
import select
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.consumer import STAMPS, ConsumeJob, StampedConsumer, merge, subscribe
from benchmarks.link import TIMEOUT_SECONDS, Link
from benchmarks.payload import make_body
from benchmarks.wire import ERROR, HEARTBEAT, NOP, BrokerError, complete_frames
from benchmarks.worker import Outcome, Pipe

_REPLY_BYTES = 4096
_START_DELAY_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class LatencyJob:
    """``rate`` is messages per second, over all ``publishers`` connections together."""

    consume: ConsumeJob
    rate: int
    publishers: int


def measure_latency(job: LatencyJob, pipe: Pipe) -> Outcome:
    """Run in a process of its own. Returns when every message is delivered and confirmed."""
    consumers = {consumer.fileno: consumer for consumer in subscribe(StampedConsumer, job.consume)}
    producers = [_Producer(job.consume) for _ in range(job.publishers)]
    _wake_precisely()
    pipe.wait_for_go()
    for consumer in consumers.values():
        consumer.start()
    cpu_started_ns = time.process_time_ns()
    started_ns = time.monotonic_ns() + _START_DELAY_NS
    _run(producers, consumers, job, started_ns)
    for producer in producers:
        producer.finish()
    return Outcome(
        messages=sum(consumer.finished for consumer in consumers.values()),
        started_ns=started_ns,
        ended_ns=time.monotonic_ns(),
        cpu_ns=time.process_time_ns() - cpu_started_ns,
        latencies_ns=merge(consumer.latencies_ns for consumer in consumers.values()),
        lateness_ns=merge(consumer.lateness_ns for consumer in consumers.values()),
    )


def _run(
    producers: "list[_Producer]",
    consumers: dict[int, StampedConsumer],
    job: LatencyJob,
    started_ns: int,
) -> None:
    filenos = list(consumers)
    interval_ns = 1e9 / job.rate
    messages = job.consume.messages
    sent = delivered = 0
    while delivered < messages:
        now_ns = time.monotonic_ns()
        due_count = min(messages, int((now_ns - started_ns) / interval_ns) + 1)
        while sent < due_count:
            producers[sent % len(producers)].publish(started_ns + int(sent * interval_ns))
            sent += 1
        wait_seconds = TIMEOUT_SECONDS
        if sent < messages:
            next_due_ns = started_ns + int(sent * interval_ns)
            wait_seconds = max(0, next_due_ns - time.monotonic_ns()) / 1e9
        # Not epoll: Python rounds its time limit up to whole milliseconds.
        readable, _, _ = select.select(filenos, (), (), wait_seconds)
        for fileno in readable:
            delivered += consumers[fileno].receive()
        if not readable and sent == messages:
            raise BrokerError(f"{messages - delivered} messages did not come")


class _Producer:
    """One connection. Confirmations are counted when they happen to be read, never awaited."""

    def __init__(self, job: ConsumeJob) -> None:
        self._link = Link(job.target)
        self._unconfirmed = 0
        self._rest = b""
        body = make_body(job.body_bytes)
        line = f"PUB {job.topic}\n".encode()
        self._command = bytearray(line + struct.pack(">I", len(body)) + body)
        self._stamps_at = len(line) + 4

    def publish(self, due_ns: int) -> None:
        STAMPS.pack_into(self._command, self._stamps_at, due_ns, time.monotonic_ns())
        self._link.send(self._command)
        self._unconfirmed += 1
        if self._unconfirmed % 64 == 0:
            self._read_replies(socket.MSG_DONTWAIT)

    def finish(self) -> None:
        while self._unconfirmed:
            self._read_replies(0)

    def _read_replies(self, flags: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = self._link.socket.recv(_REPLY_BYTES, flags)
            if not data:
                raise BrokerError("the broker closed a publisher's connection")
            self._count(self._rest + data)

    def _count(self, data: bytes) -> None:
        frames, self._rest = complete_frames(data)
        for kind, answer in frames:
            if answer == HEARTBEAT:
                self._link.send(NOP)
            elif kind == ERROR:
                raise BrokerError(answer.decode(errors="replace"))
            else:
                self._unconfirmed -= 1


def _wake_precisely() -> None:
    """Ask the kernel not to round our sleeps up by its usual 50 us, where it lets us."""
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
