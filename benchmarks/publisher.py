"""
Publishes as fast as the broker confirms.

A connection keeps ``window`` commands unconfirmed; each OK lets the next one go. With a window of 1
and a batch of 1 this is a producer that publishes one by one. Everything that is sent is built
before the clock starts: a burst of n commands is a slice of one buffer.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.link import Link, Target, readiness
from benchmarks.payload import make_body
from benchmarks.wire import (
    ERROR,
    HEARTBEAT,
    NOP,
    OK_FRAME,
    BrokerError,
    complete_frames,
    mpub,
    pub,
)
from benchmarks.worker import Outcome, Pipe

_REPLY_BYTES = 4096
_OK_BYTES = len(OK_FRAME)

Bursts = list[memoryview]


@dataclass(frozen=True, slots=True)
class PublishJob:
    """``messages`` is rounded up to whole commands."""

    target: Target
    topic: str
    messages: int
    batch: int
    body_bytes: int
    connections: int
    window: int

    @property
    def commands(self) -> int:
        return -(-self.messages // self.batch)


def publish(job: PublishJob, pipe: Pipe) -> Outcome:
    """Run in a process of its own. Returns when the last OK has arrived."""
    links = [Link(job.target) for _ in range(job.connections)]
    bursts = _build_bursts(links, job)
    producers = {link.fileno: _Producer(link, bursts) for link in links}
    ready = readiness(list(producers))
    pipe.wait_for_go()
    started_ns, cpu_started_ns = time.monotonic_ns(), time.process_time_ns()
    confirmed = _pump(producers, ready, job.commands, job.window)
    return Outcome(
        messages=confirmed * job.batch,
        started_ns=started_ns,
        ended_ns=time.monotonic_ns(),
        cpu_ns=time.process_time_ns() - cpu_started_ns,
    )


def _pump(
    producers: "dict[int, _Producer]",
    ready: Callable[[], list[tuple[int, int]]],
    commands: int,
    window: int,
) -> int:
    left = commands
    for producer in producers.values():
        left -= producer.send(min(window, left))
    confirmed = 0
    while confirmed < commands:
        for fileno, _ in ready():
            producer = producers[fileno]
            confirmations = producer.confirmations()
            confirmed += confirmations
            if left:
                left -= producer.send(min(confirmations, left))
    return confirmed


class _Producer:
    """One connection. ``send`` and ``confirmations`` are the hot path."""

    __slots__ = ("_bursts", "_link", "_receive", "_rest", "_send")

    def __init__(self, link: Link, bursts: Bursts) -> None:
        self._link = link
        self._send = link.send
        self._receive = link.receive
        self._bursts = bursts
        self._rest = b""

    def send(self, count: int) -> int:
        if count:
            self._send(self._bursts[count])
        return count

    def confirmations(self) -> int:
        """Read once and return how many OKs came."""
        data = self._receive(_REPLY_BYTES)
        if data == OK_FRAME and not self._rest:
            return 1
        data = self._rest + data if self._rest else data
        count = len(data) // _OK_BYTES
        if count and data == OK_FRAME * count:
            self._rest = b""
            return count
        return self._parse(data)

    def _parse(self, data: bytes) -> int:
        if data == self._rest:
            raise BrokerError("the broker closed a publisher's connection")
        frames, self._rest = complete_frames(data)
        for kind, answer in frames:
            if answer == HEARTBEAT:
                self._send(self._link.encode(NOP))
            elif kind == ERROR or answer != b"OK":
                raise BrokerError(answer.decode(errors="replace"))
        return sum(answer == b"OK" for _, answer in frames)


def _build_bursts(links: list[Link], job: PublishJob) -> Bursts:
    """Build what to send for 0, 1 ... window commands: the same bytes on every connection."""
    body = make_body(job.body_bytes)
    command = pub(job.topic, body) if job.batch == 1 else mpub(job.topic, [body] * job.batch)
    encoded = b""
    for link in links:
        first, encoded = link.encode(command), link.encode(command)
        # What only the first has is the header of a compressed stream.
        link.send(first[: len(first) - len(encoded)])
    whole = memoryview(encoded * job.window)
    return [whole[: len(encoded) * count] for count in range(job.window + 1)]
