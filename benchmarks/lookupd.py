"""
nsqlookupd with a large cluster: 1,000 nodes that hold 100,000 registrations.

    python -m benchmarks.lookupd
    python -m benchmarks.lookupd --nodes 200 --seconds 2 --option=--log-level=warn

Nodes are connections of one load process that register as our nsqd does, up to 256 commands ahead
of the answers. Lookups are HTTP requests over a few connections, one at a time on each, for all
topics in turn: after the first round the answers are kept ones. In the mixed run one node after
another loses a topic and gets it back without a pause, so that lookups are made anew. At last
clients watch one topic, and nodes get it.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Self, cast

from benchmarks.machine import Machine
from benchmarks.usage import BrokerProcess
from benchmarks.worker import LoadError
from nsqx.protocol.lookup import (
    MAGIC,
    AnswerParser,
    PeerInfo,
    encode_identify,
    encode_register,
    encode_unregister,
)
from nsqx.runtime.process.open_files import raise_limit
from nsqx.runtime.process.run import new_event_loop

CHANNELS = 4
UNANSWERED_MAX = 256  # as nsqd
CONNECTING_MAX = 100  # at a time: more do not fit in the listener's queue
SETTLE_SECONDS = 0.3  # so that what is put off is counted, and nothing else
SPARE_CONNECTIONS = 100
NEW_NODES = 20  # that watchers are told of, one after another
START_SECONDS_MAX = 20.0

_LISTENING = re.compile(r"\b(TCP|HTTP): listening on [^ ]+:(\d+)\s*$", re.MULTILINE)
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
_INDEX = re.compile(rb"\r\nX-NSQX-Index: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Size:
    """A cluster whose topics are spread evenly over its nodes, all with the same channels."""

    nodes: int
    topics: int
    topics_per_node: int

    @property
    def registrations(self) -> int:
        return self.nodes * self.topics_per_node * (1 + CHANNELS)

    def limits(self) -> list[str]:
        """Return options that let this many nodes be at one address, as they are here."""
        registrations = self.registrations + self.topics_per_node
        return [
            f"--max-connections-per-address={self.nodes + SPARE_CONNECTIONS}",
            f"--max-connections={self.nodes + SPARE_CONNECTIONS}",
            f"--max-registrations-per-address={registrations}",
            f"--max-registrations={max(registrations // self.nodes * 2, 20_000)}",
            f"--max-entries={max(registrations, 1_000_000)}",
        ]

    def of_node(self, node: int) -> list[str]:
        """Return the topics of a node."""
        first = node * self.topics_per_node
        return [f"topic-{(first + number) % self.topics}" for number in range(self.topics_per_node)]


@dataclass(slots=True)
class Figures:
    """What was measured."""

    nodes: int = field(metadata={"unit": "nsqds"})
    registrations: int = field(metadata={"unit": "of topics and channels"})
    rss_empty_mb: float = field(default=0.0, metadata={"unit": "MB resident before"})
    rss_mb: float = field(default=0.0, metadata={"unit": "MB resident with all of them"})
    register_seconds: float = field(default=0.0, metadata={"unit": "s until all had registered"})
    register_cpu_us: float = field(default=0.0, metadata={"unit": "us of CPU per registration"})
    lookups: float = field(default=0.0, metadata={"unit": "lookups/s"})
    lookup_cpu_us: float = field(default=0.0, metadata={"unit": "us of CPU per lookup"})
    mixed_lookups: float = field(default=0.0, metadata={"unit": "lookups/s among changes"})
    mixed_changes: float = field(default=0.0, metadata={"unit": "changes/s among lookups"})
    watchers: int = field(default=0, metadata={"unit": "watchers of one topic"})
    told_ms: float = field(default=0.0, metadata={"unit": "ms until all knew a node, median"})
    told_ms_max: float = field(default=0.0, metadata={"unit": "ms until all knew a node, most"})

    def lines(self) -> Iterator[str]:
        """Yield one figure a line."""
        for each in fields(self):
            value = getattr(self, each.name)
            text = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
            yield f"{text:>12}  {each.metadata['unit']}"


class Directory:
    """Our nsqlookupd as a process; its log is a file."""

    def __init__(self, log: Path, options: Sequence[str]) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self._popen = subprocess.Popen(
                [
                    *(sys.executable, "-m", "nsqx.lookupd"),
                    *("--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", *options),
                ],
                stderr=stderr,
            )
        self.process = BrokerProcess(self._popen.pid)
        self.tcp_port = self.http_port = 0

    async def started(self) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while len(ports := dict(_LISTENING.findall(self._log.read_text()))) < 2:
            if self._popen.poll() is not None or time.monotonic() > deadline:
                raise LoadError(f"nsqlookupd does not listen:\n{self._log.read_text()}")
            await asyncio.sleep(0.02)
        self.tcp_port, self.http_port = int(ports["TCP"]), int(ports["HTTP"])

    def stop(self) -> None:
        self._popen.terminate()
        self._popen.wait()


class Node(asyncio.Protocol):
    """One nsqd, as nsqlookupd sees it."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._answers = AnswerParser()
        self._queue: Iterator[bytes] = iter(())
        self._unanswered = 0
        self._done: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, port: int) -> Self:
        _, node = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return node

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(MAGIC)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(LoadError(f"nsqlookupd has closed a connection: {exc}"))

    async def say(self, commands: Sequence[bytes]) -> None:
        """Send commands and wait until all are answered."""
        self._queue = iter(commands)
        self._done = asyncio.get_running_loop().create_future()
        self._send()
        await self._done

    def data_received(self, data: bytes) -> None:
        answers = self._answers.receive_data(data)
        if any(answer.startswith(b"E_") for answer in answers):
            self._transport.abort()
            return
        self._unanswered -= len(answers)
        self._send()

    def _send(self) -> None:
        commands = list(itertools.islice(self._queue, UNANSWERED_MAX - self._unanswered))
        self._unanswered += len(commands)
        self._transport.write(b"".join(commands))
        if not self._unanswered and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def close(self) -> None:
        self._transport.close()


class Asker(asyncio.Protocol):
    """An HTTP connection with one request at a time."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[bytes] | None = None

    @classmethod
    async def connect(cls, port: int) -> Self:
        _, asker = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return asker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LoadError(f"nsqlookupd has closed a connection: {exc}"))

    def ask(self, path: str) -> Awaitable[bytes]:
        """Send a GET; the answer is head and body."""
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head_end = self._received.find(b"\r\n\r\n")
        length = _LENGTH.search(self._received, 0, head_end + 2) if head_end >= 0 else None
        if length is None or len(self._received) < head_end + 4 + int(length[1]):
            return
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._received)

    def close(self) -> None:
        self._transport.close()


class Measurement:
    """One nsqlookupd and one cluster, measured in the order of the methods."""

    def __init__(self, directory: Directory, size: Size, seconds: float) -> None:
        self.figures = Figures(size.nodes, size.registrations)
        self._directory = directory
        self._process = directory.process
        self._size = size
        self._seconds = seconds
        self._nodes: list[Node] = []

    async def register(self) -> None:
        """All nodes come at once, as after a restart of nsqlookupd."""
        self.figures.rss_empty_mb = self._process.rss_bytes() / 1e6
        stories = [self._story(node) for node in range(self._size.nodes)]
        queue = asyncio.Semaphore(CONNECTING_MAX)
        cpu_before, began = self._process.cpu_time(), time.monotonic()
        self._nodes = await asyncio.gather(*(self._join(queue, story) for story in stories))
        self.figures.register_seconds = time.monotonic() - began
        await asyncio.sleep(SETTLE_SECONDS)
        cpu = self._process.cpu_time().since(cpu_before)
        self.figures.register_cpu_us = cpu.total_ns / 1000 / self._size.registrations
        self.figures.rss_mb = self._process.rss_bytes() / 1e6

    async def _join(self, queue: asyncio.Semaphore, story: Sequence[bytes]) -> Node:
        async with queue:
            node = await Node.connect(self._directory.tcp_port)
        await node.say(story)
        return node

    def _story(self, number: int) -> list[bytes]:
        """Return what a node says: who it is, and each topic by its channels."""
        peer = PeerInfo(
            f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            f"node-{number}",
            4151,
            4150,
            version="1.3.0",
        )
        return [
            encode_identify(peer),
            *(
                encode_register(topic, f"channel-{channel}")
                for topic in self._size.of_node(number)
                for channel in range(CHANNELS)
            ),
        ]

    async def look_up(self, connections: int) -> None:
        """Ask for topics while nothing changes."""
        async with self._askers(connections) as askers:
            await self._ask_for(askers, lambda count: count >= self._size.topics)
            cpu_before = self._process.cpu_time()
            count, seconds = await self._ask_for_a_while(askers)
            cpu = self._process.cpu_time().since(cpu_before)
        self.figures.lookups = count / seconds
        self.figures.lookup_cpu_us = cpu.total_ns / 1000 / count

    async def look_up_among_changes(self, connections: int) -> None:
        """Ask for topics while nodes lose topics and get them back."""
        changing = asyncio.create_task(self._change_for_ever())
        async with self._askers(connections) as askers:
            count, seconds = await self._ask_for_a_while(askers)
        changing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await changing
        self.figures.mixed_lookups = count / seconds
        self.figures.mixed_changes /= seconds

    async def _change_for_ever(self) -> None:
        for number, node in itertools.cycle(enumerate(self._nodes)):
            topic = self._size.of_node(number)[0]
            await node.say([encode_unregister(topic, "channel-0"), encode_unregister(topic)])
            await node.say([encode_register(topic, "channel-0")])
            self.figures.mixed_changes += 2

    async def watch(self, watchers: int) -> None:
        """Have watchers told of new nodes."""
        self.figures.watchers = watchers
        topic = "watched"
        await self._nodes[0].say([encode_register(topic)])
        told: list[float] = []
        async with self._askers(watchers) as askers:
            answers = await asyncio.gather(*(each.ask(f"/watch?topic={topic}") for each in askers))
            for node in self._nodes[1 : 1 + NEW_NODES]:
                waits = [
                    asker.ask(f"/watch?topic={topic}&index={_index(answer)}")
                    for asker, answer in zip(askers, answers, strict=True)
                ]
                await asyncio.sleep(SETTLE_SECONDS)
                began = time.monotonic()
                await node.say([encode_register(topic)])
                answers = await asyncio.gather(*waits)
                told.append((time.monotonic() - began) * 1000)
        self.figures.told_ms, self.figures.told_ms_max = median(told), max(told)

    def close(self) -> None:
        for node in self._nodes:
            node.close()

    @asynccontextmanager
    async def _askers(self, count: int) -> AsyncIterator[list[Asker]]:
        queue = asyncio.Semaphore(CONNECTING_MAX)

        async def connect() -> Asker:
            async with queue:
                return await Asker.connect(self._directory.http_port)

        askers = await asyncio.gather(*(connect() for _ in range(count)))
        try:
            yield askers
        finally:
            for asker in askers:
                asker.close()

    async def _ask_for_a_while(self, askers: list[Asker]) -> tuple[int, float]:
        """Return how many were answered, and in how many seconds."""
        began = time.monotonic()
        count = await self._ask_for(askers, lambda _: time.monotonic() - began >= self._seconds)
        return count, time.monotonic() - began

    async def _ask_for(self, askers: list[Asker], is_enough: Callable[[int], bool]) -> int:
        numbers = itertools.count()

        async def ask(asker: Asker) -> None:
            while not is_enough(number := next(numbers)):
                answer = await asker.ask(f"/lookup?topic=topic-{number % self._size.topics}")
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise LoadError(f"a lookup was answered {answer[:100]!r}")

        await asyncio.gather(*map(ask, askers))
        return next(numbers) - len(askers)


def _index(answer: bytes) -> int:
    found = _INDEX.search(answer)
    if found is None:
        raise LoadError(f"an answer without an index: {answer[:200]!r}")
    return int(found[1])


async def measure(size: Size, options: argparse.Namespace) -> Figures:
    """Start an nsqlookupd and measure it."""
    with TemporaryDirectory(prefix="nsqx-benchmark-", dir=options.directory) as folder:
        directory = Directory(Path(folder) / "log", [*size.limits(), *options.option])
        try:
            await directory.started()
            measurement = Measurement(directory, size, options.seconds)
            await measurement.register()
            await measurement.look_up(options.connections)
            await measurement.look_up_among_changes(options.connections)
            await measurement.watch(options.watchers)
            measurement.close()
        finally:
            directory.stop()
    return measurement.figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure once and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lookupd", description=__doc__)
    add = parser.add_argument
    add("--nodes", type=int, default=1_000)
    add("--topics", type=int, default=1_000, help="in all; each has 4 channels")
    add("--topics-per-node", type=int, default=20)
    add("--connections", type=int, default=4, help="that ask, one request at a time on each")
    add("--watchers", type=int, default=1_000, help="clients that watch one topic")
    add("--seconds", type=float, default=5.0, help="how long to ask")
    add("--directory", default="/var/tmp", help="for the log of nsqlookupd")
    add("--option", action="append", default=[], help="pass on to nsqlookupd; may be repeated")
    add("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    raise_limit()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        size = Size(options.nodes, options.topics, options.topics_per_node)
        figures = runner.run(measure(size, options))
    if options.json:
        print(json.dumps(asdict(figures)))
    else:
        print(Machine.read(), *figures.lines(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
