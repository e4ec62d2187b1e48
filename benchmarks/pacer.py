"""
Publishes at a fixed rate, whatever the broker does (an open loop).

Message i is due at ``start + i / rate``. When the generator wakes it sends everything that is due,
each message by its own PUB, stamped with when it was due and when it was really sent. Latency
counts from *due*, so a broker that stalls is charged with every message that had to wait, also
those not yet sent (no "coordinated omission"). The difference of the two stamps says how much of
the latency is the generator's own lateness.
"""

import contextlib
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.consumer import STAMPS
from benchmarks.link import Link, Target
from benchmarks.payload import make_body
from benchmarks.wire import ERROR, HEARTBEAT, NOP, BrokerError, complete_frames
from benchmarks.worker import Outcome, Pipe

_REPLY_BYTES = 1 << 16
_START_DELAY_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class PaceJob:
    """``rate`` is messages per second, over all connections together."""

    target: Target
    topic: str
    messages: int
    rate: int
    body_bytes: int
    connections: int


def pace(job: PaceJob, pipe: Pipe) -> Outcome:
    """Run in a process of its own. Returns when the last OK has arrived."""
    producers = [_PacedProducer(Link(job.target), job) for _ in range(job.connections)]
    _wake_precisely()
    pipe.wait_for_go()
    cpu_started_ns = time.process_time_ns()
    started_ns = time.monotonic_ns() + _START_DELAY_NS
    _publish_on_time(producers, job, started_ns)
    for producer in producers:
        producer.finish()
    return Outcome(
        messages=job.messages,
        started_ns=started_ns,
        ended_ns=time.monotonic_ns(),
        cpu_ns=time.process_time_ns() - cpu_started_ns,
    )


def _publish_on_time(producers: "list[_PacedProducer]", job: PaceJob, started_ns: int) -> None:
    interval_ns = 1e9 / job.rate
    sent = 0
    while sent < job.messages:
        now_ns = time.monotonic_ns()
        due_count = min(job.messages, int((now_ns - started_ns) / interval_ns) + 1)
        while sent < due_count:
            producer = producers[sent % len(producers)]
            producer.publish(started_ns + int(sent * interval_ns))
            sent += 1
        next_due_ns = started_ns + int(sent * interval_ns)
        time.sleep(max(0, next_due_ns - time.monotonic_ns()) / 1e9)


class _PacedProducer:
    """One connection. Confirmations are counted when they happen to be read, never awaited."""

    def __init__(self, link: Link, job: PaceJob) -> None:
        self._link = link
        self._body_bytes = job.body_bytes
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
