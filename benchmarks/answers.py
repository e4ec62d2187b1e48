"""
What a REQ, a TOUCH, a DPUB and a deferred delivery cost, as ratios to a single PUB.

    python -m benchmarks.answers

Each command goes out alone, on one of 64 connections, to a topic of some 2,000 segments of which
2,500 messages are in flight. nsqd is stopped while those of a round are sent, so that it finds as
many in a turn of its loop whatever the command: else a turn has one or twenty, as the scheduler
likes, and what a turn costs is compared instead. Figures are CPU microseconds of nsqd for each
message; what counts are the ratios to the PUBs of the same repetition, and of those the median.
"""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.broker import OwnBroker
from benchmarks.link import Link, Target
from benchmarks.machine import Machine
from benchmarks.payload import make_body
from benchmarks.wire import (
    FRAME_HEADER,
    HEARTBEAT,
    ID_BYTES,
    ID_OFFSET,
    MESSAGE,
    OK_FRAME,
    RESPONSE,
    BrokerError,
    complete_frames,
    dpub,
    fin,
    pub,
    rdy,
    req,
    sub,
    touch,
)

CONNECTIONS = 64
IN_FLIGHT = 2_500
BODY_BYTES = 200
SEGMENT_BYTES = 300  # one message, or two
DUE_MS = 3_000
HOUR_MS = 3_600_000
REPETITIONS = 5

BUDGETS = {
    "REQ and its redelivery": 1.3,
    "TOUCH": 0.65,
    "DPUB one by one": 2.0,
    "deferred delivery": 0.8,
}
_TOPIC, _CHANNEL, _LATER = "answers", "c", "later"
_HEARTBEAT_FRAME = FRAME_HEADER.pack(4 + len(HEARTBEAT), RESPONSE) + HEARTBEAT
_ID = slice(ID_OFFSET - 8, ID_OFFSET - 8 + ID_BYTES)  # in a frame without its header


class Holder:
    """A consumer that answers its messages one by one, the oldest first."""

    def __init__(self, target: Target, topic: str, ready_count: int) -> None:
        self.link = Link(target)
        self.link.call(sub(topic, _CHANNEL))
        self.link.send(rdy(ready_count))
        self.ids: deque[bytes] = deque()
        self._rest = b""

    def receive(self, count: int) -> None:
        """Wait until so many messages have come."""
        expected = len(self.ids) + count
        while len(self.ids) < expected:
            frames, self._rest = complete_frames(self._rest + self.link.receive(1 << 18))
            for kind, data in frames:
                if kind == MESSAGE:
                    self.ids.append(data[_ID])
                elif data != HEARTBEAT:
                    raise BrokerError(data.decode(errors="replace"))


def _take_ok(link: Link) -> None:
    """Wait for an OK; a heartbeat may come before, on a machine that is slow."""
    while (answer := link.receive(len(OK_FRAME))) != OK_FRAME:
        if not _HEARTBEAT_FRAME.startswith(answer):
            raise BrokerError(f"{answer!r} instead of OK")
        link.receive(len(_HEARTBEAT_FRAME) - len(answer))


class Measurement:
    """One node, and what each kind of command cost it."""

    def __init__(self, broker: OwnBroker, messages: int) -> None:
        self.ratios: dict[str, float] = {}  # to a PUB, medians
        self.cpu_us: dict[str, float] = {}  # medians
        self._measured: defaultdict[str, list[float]] = defaultdict(list)
        self._broker = broker
        self._target = Target(broker.host, broker.port)
        assert broker.process is not None
        self._process = broker.process
        self._messages = messages
        self._producers = [Link(self._target) for _ in range(CONNECTIONS)]
        self._holders: list[Holder] = []

    def all(self) -> None:
        """Measure everything in turn, some times."""
        body = make_body(BODY_BYTES)
        holders = [
            Holder(self._target, _TOPIC, IN_FLIGHT // CONNECTIONS) for _ in range(CONNECTIONS)
        ]
        self._holders += holders
        for holder in holders:
            holder.receive(IN_FLIGHT // CONNECTIONS)
        for _ in range(REPETITIONS):
            self._all_once(holders, body)
        single_us = self._measured["PUB"]
        for what, cpu_us in self._measured.items():
            ratios = [one / pub for one, pub in zip(cpu_us, single_us, strict=True)]
            self.cpu_us[what] = statistics.median(cpu_us)
            self.ratios[what] = statistics.median(ratios)

    def _all_once(self, holders: list[Holder], body: bytes) -> None:
        count = self._messages
        self._measure("PUB", lambda: self._round(count, pub("singles", body)))
        self._measure("REQ and its redelivery", lambda: self._requeue(holders, count))
        self._measure("TOUCH", lambda: self._touch(holders, count))
        self._measure(
            "DPUB one by one", lambda: self._round(count, dpub("deferred", HOUR_MS, body))
        )
        self._deferred(body)

    def close(self) -> None:
        """End all connections."""
        for link in [*self._producers, *(holder.link for holder in self._holders)]:
            link.close()

    def prepare(self) -> None:
        """Publish what is to be in flight."""
        for name in (_TOPIC, _LATER):
            self._broker.create(name, _CHANNEL)
        # As many as are delivered: what waited besides would take turns with what comes again.
        self._round(IN_FLIGHT // CONNECTIONS * CONNECTIONS, pub(_TOPIC, make_body(BODY_BYTES)))

    def _measure(self, what: str, do: Callable[[], None]) -> None:
        before = self._process.cpu_time()
        do()
        spent = self._process.cpu_time().since(before)
        self._measured[what].append(spent.total_ns / 1000 / self._messages)

    def _round(self, count: int, command: bytes) -> None:
        """Send a command ``count`` times, one on each connection before the next ones."""
        while count > 0:
            links = self._producers[:count]
            with self._process.stopped():
                for link in links:
                    link.send(command)
            for link in links:
                _take_ok(link)
            count -= len(links)

    def _requeue(self, holders: list[Holder], count: int) -> None:
        """Requeue the oldest message of each, which comes again."""
        while count > 0:
            some = holders[:count]
            with self._process.stopped():
                for holder in some:
                    holder.link.send(req(holder.ids.popleft(), 0))
            for holder in some:
                holder.receive(1)
            count -= len(some)

    def _touch(self, holders: list[Holder], count: int) -> None:
        """Touch the last message of each, with a PUB after each round: nothing answers a TOUCH."""
        while count > 0:
            some = holders[:count]
            with self._process.stopped():
                for holder in some:
                    holder.link.send(touch(holder.ids[-1]))
            self._producers[0].send(pub("pace", b"."))
            _take_ok(self._producers[0])
            count -= len(some)

    def _deferred(self, body: bytes) -> None:
        began = time.monotonic()
        self._round(self._messages, dpub(_LATER, DUE_MS, body))
        if time.monotonic() - began > DUE_MS / 1000:
            raise BrokerError("the first deferred message was due before the last was published")
        holder = Holder(self._target, _LATER, IN_FLIGHT)
        self._holders.append(holder)

        def take() -> None:
            for _ in range(self._messages):
                if not holder.ids:
                    holder.receive(1)
                holder.link.send(fin(holder.ids.popleft()))

        self._measure("deferred delivery", take)
        holder.link.close()
        self._holders.remove(holder)

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        yield f"{'command':28}{'us':>8}{'ratio':>8}  budget"
        for what, cpu_us in self.cpu_us.items():
            budget, ratio = BUDGETS.get(what), self.ratios[what]
            met = "" if budget is None else f"{budget:g} {'yes' if ratio <= budget else 'NO'}"
            yield f"{what:28}{cpu_us:8.1f}{ratio:8.2f}  {met}"


@contextmanager
def _node(folder: str, *options: str) -> Iterator[OwnBroker]:
    broker = OwnBroker(Path(folder), options)
    try:
        yield broker
    finally:
        broker.stop()


def measure(messages: int, directory: str) -> Measurement:
    """Have a node make small segments, and measure another one that has them."""
    with TemporaryDirectory(prefix="nsqx-benchmark-", dir=directory) as folder:
        with (
            _node(folder, f"--max-bytes-per-file={SEGMENT_BYTES}") as broker,
            closing(Measurement(broker, messages)) as preparation,
        ):
            preparation.prepare()
        with _node(folder) as broker, closing(Measurement(broker, messages)) as measurement:
            measurement.all()
    return measurement


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure once and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers", description=__doc__)
    add = parser.add_argument
    add("--messages", type=int, default=1_280, help="of each kind and repetition")
    add("--directory", default="/var/tmp", help="for the data of nsqd")
    add("--json", action="store_true", help="print JSON: microseconds by command")
    options = parser.parse_args(arguments)
    measurement = measure(options.messages, options.directory)
    if options.json:
        print(json.dumps(measurement.cpu_us))
    else:
        print(Machine.read(), *measurement.lines(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
