"""
What a REQ, a TOUCH, a DPUB and a deferred delivery cost, as ratios to a single PUB.

    python -m benchmarks.answers

Each command goes out alone, on one of 64 connections, to a topic of some 2,000 segments of which
2,500 messages are in flight. Figures are CPU microseconds of nsqd for each message; what counts are
the ratios within one run, which other programs change little.
"""

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.broker import OwnBroker
from benchmarks.link import Link, Target
from benchmarks.machine import Machine
from benchmarks.payload import make_body
from benchmarks.wire import (
    ID_BYTES,
    ID_OFFSET,
    MESSAGE,
    OK_FRAME,
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

BUDGETS = {
    "REQ and its redelivery": 1.3,
    "TOUCH": 0.65,
    "DPUB one by one": 2.0,
    "deferred delivery": 0.8,
}
_TOPIC, _CHANNEL, _LATER = "answers", "c", "later"
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
                if kind != MESSAGE:
                    raise BrokerError(data.decode(errors="replace"))
                self.ids.append(data[_ID])


class Measurement:
    """One node, and what each kind of command cost it."""

    def __init__(self, broker: OwnBroker, messages: int) -> None:
        self.cpu_us: dict[str, float] = {}
        self._broker = broker
        self._target = Target(broker.host, broker.port)
        self._messages = messages
        self._producers = [Link(self._target) for _ in range(CONNECTIONS)]
        self._holders: list[Holder] = []

    def all(self) -> None:
        """Measure everything once."""
        body = make_body(BODY_BYTES)
        holders = [
            Holder(self._target, _TOPIC, IN_FLIGHT // CONNECTIONS) for _ in range(CONNECTIONS)
        ]
        self._holders += holders
        for holder in holders:
            holder.receive(IN_FLIGHT // CONNECTIONS)
        count = self._messages
        self._measure("PUB", lambda: self._round(count, pub("singles", body)))
        self._measure("REQ and its redelivery", lambda: _requeue(holders, count))
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
        self._round(IN_FLIGHT, pub(_TOPIC, make_body(BODY_BYTES)))

    def _measure(self, what: str, do: Callable[[], None]) -> None:
        process = self._broker.process
        assert process is not None
        before = process.cpu_time()
        do()
        spent = process.cpu_time().since(before)
        self.cpu_us[what] = spent.total_ns / 1000 / self._messages

    def _round(self, count: int, command: bytes) -> None:
        """Send a command ``count`` times, one on each connection before the next ones."""
        while count > 0:
            links = self._producers[:count]
            for link in links:
                link.send(command)
            for link in links:
                if link.receive(len(OK_FRAME)) != OK_FRAME:
                    raise BrokerError(f"no OK for {command[:40]!r}")
            count -= len(links)

    def _touch(self, holders: list[Holder], count: int) -> None:
        """Touch the last message of each, with a PUB after each round: nothing answers a TOUCH."""
        for number in range(count):
            holder = holders[number % len(holders)]
            holder.link.send(touch(holder.ids[-1]))
            if number % len(holders) == len(holders) - 1:
                self._producers[0].call(pub("pace", b"."))

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

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        single_us = self.cpu_us["PUB"]
        yield f"{'command':28}{'us':>8}{'ratio':>8}  budget"
        for what, cpu_us in self.cpu_us.items():
            budget = BUDGETS.get(what)
            met = "" if budget is None else f"{budget:g} {cpu_us / single_us <= budget}"
            yield f"{what:28}{cpu_us:8.1f}{cpu_us / single_us:8.2f}  {met}"


def _requeue(holders: list[Holder], count: int) -> None:
    while count > 0:
        some = holders[:count]
        for holder in some:
            holder.link.send(req(holder.ids.popleft(), 0))
        for holder in some:
            holder.receive(1)
        count -= len(some)


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
    add("--messages", type=int, default=5_000, help="of each kind")
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
