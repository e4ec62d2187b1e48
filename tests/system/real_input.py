"""
Real input through a real cluster, with faults in the middle.

    python -m tests.system.real_input

Every line of Python's standard library that is not empty is published, alternately to two nsqd.
The channel ``archive`` is read by our client and by pynsq, the channel ``index`` by ours; all find
the nodes through two nsqlookupd. In the middle one nsqd is killed with ``kill -9`` and started
again, and one nsqlookupd is killed for good. At the end each channel must have got every message.
"""

import argparse
import asyncio
import json
import struct
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from nsqx.client import Consumer, PartlyPublished, Producer
from tests.support.processes import Cluster, Lookupd, Nsqd, running_cluster

__all__ = ["Report", "lines_of_standard_library", "run"]

TOPIC = "lines"
ARCHIVE, INDEX = "archive", "index"
PIECE = 10_000  # lines handed to a producer at a time
# What was delivered this long before the kill may have been in flight, or its FIN not yet in the
# journal (at most 0.1 s, plus the time the consumers' processes take on a busy machine).
UNSURE_SECONDS = 2.0
QUIET_SECONDS_MAX = 60.0

_PYNSQ_HEAD = struct.Struct(">16sI")


def lines_of_standard_library() -> Iterator[bytes]:
    """Yield every line that is not blank of every source file."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if "site-packages" not in path.parts:
            yield from (line for line in path.read_bytes().splitlines() if line.strip())


@dataclass
class ChannelLog:
    """What came through one channel."""

    bodies: dict[bytes, bytes] = field(default_factory=dict)  # by id
    first_seen: dict[bytes, float] = field(default_factory=dict)
    repeated: set[bytes] = field(default_factory=set)
    deliveries: Counter[str] = field(default_factory=Counter)  # by consumer
    wrong: list[bytes] = field(default_factory=list)  # ids that came with two different bodies

    def add(self, consumer: str, message_id: bytes, body: bytes) -> None:
        """Note a delivery."""
        self.deliveries[consumer] += 1
        known = self.bodies.get(message_id)
        if known is None:
            self.bodies[message_id] = body
            self.first_seen[message_id] = time.monotonic()
        else:
            self.repeated.add(message_id)
            if known != body:
                self.wrong.append(message_id)


@dataclass
class ChannelReport:
    """The outcome of one channel; all but the counts must be zero."""

    deliveries: dict[str, int]
    repeated: int  # delivered again: in flight at the kill
    repeated_without_reason: int
    published_again: int  # not confirmed at the kill, so published a second time
    missing: int
    unexpected: int
    wrong: int


@dataclass
class Report:
    """The outcome of a run."""

    published: int
    seconds: float
    unsure_at_kill: int
    channels: dict[str, ChannelReport] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether nothing is missing and nothing came that should not have."""
        return not any(
            channel.missing
            or channel.unexpected
            or channel.wrong
            or channel.repeated_without_reason
            for channel in self.channels.values()
        )


class _Run:
    def __init__(self, cluster: Cluster, lines: list[bytes]) -> None:
        self.cluster = cluster
        self.lines = lines
        self.logs = {ARCHIVE: ChannelLog(), INDEX: ChannelLog()}
        self.unsure: list[bytes] = []  # published again, since nobody knew
        self.killed_at = 0.0
        self.lookupds: list[Lookupd] = []
        self.nodes: list[Nsqd] = []
        self._published = 0
        self._progress = asyncio.Condition()

    async def run(self) -> Report:
        started = time.monotonic()
        self.lookupds = [await self.cluster.lookupd() for _ in range(2)]
        self.nodes = [await self.cluster.nsqd(lookupds=self.lookupds) for _ in range(2)]
        for node in self.nodes:
            await node.post(f"/topic/create?topic={TOPIC}")
            for channel in self.logs:
                await node.post(f"/channel/create?topic={TOPIC}&channel={channel}")
        consumers = [
            asyncio.create_task(self._consume(ARCHIVE)),
            asyncio.create_task(self._consume(INDEX)),
            asyncio.create_task(self._consume_with_pynsq(ARCHIVE)),
        ]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._break_things())
                for number, node in enumerate(self.nodes):
                    group.create_task(self._publish(node, self.lines[number::2]))
            await self._until_all_came()
        finally:
            for task in consumers:
                task.cancel()
            await asyncio.gather(*consumers, return_exceptions=True)
        return self._report(time.monotonic() - started)

    async def _publish(self, node: Nsqd, lines: list[bytes]) -> None:
        remaining = iter(lines)
        async with Producer(node.tcp_address, resend=False) as producer:
            while piece := list(islice(remaining, PIECE)):
                while piece:
                    piece = await self._publish_piece(producer, piece)

    async def _publish_piece(self, producer: Producer, piece: list[bytes]) -> list[bytes]:
        """Publish lines; return those of which nobody knows whether they were accepted."""
        try:
            count = await producer.publish_many(TOPIC, piece)
            again: list[bytes] = []
        except PartlyPublished as failure:
            # publish_many had not taken what follows the batches that failed.
            count, taken = failure.confirmed, failure.confirmed + len(failure.unconfirmed)
            self.unsure += failure.unconfirmed
            again = failure.unconfirmed + piece[taken:]
        async with self._progress:
            self._published += count
            self._progress.notify_all()
        return again

    async def _break_things(self) -> None:
        await self._until_published(2 / 5)
        self.killed_at = time.monotonic()
        await self.nodes[0].kill()
        await self.nodes[0].start()
        await self._until_published(3 / 5)
        await self.lookupds[0].kill()

    async def _until_published(self, share: float) -> None:
        async with self._progress:
            await self._progress.wait_for(lambda: self._published >= share * len(self.lines))

    async def _consume(self, channel: str) -> None:
        log = self.logs[channel]
        addresses = [lookupd.http_address for lookupd in self.lookupds]
        async with Consumer(TOPIC, channel, lookupd=addresses, max_in_flight=500) as consumer:
            async for message in consumer:
                log.add("nsqx", message.id, message.body)
                message.finish()

    async def _consume_with_pynsq(self, channel: str) -> None:
        log = self.logs[channel]
        addresses = [lookupd.http_address for lookupd in self.lookupds]
        script = Path(__file__).with_name("pynsq_reader.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            TOPIC,
            channel,
            *addresses,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        try:
            while True:
                head = await process.stdout.readexactly(_PYNSQ_HEAD.size)
                message_id, length = _PYNSQ_HEAD.unpack(head)
                log.add("pynsq", message_id, await process.stdout.readexactly(length))
        finally:
            process.kill()
            await process.wait()

    async def _until_all_came(self) -> None:
        """Wait until each channel has all, or nothing has come for long."""
        last, since = -1, time.monotonic()
        wanted = len(self.lines)
        while any(len(log.bodies) < wanted for log in self.logs.values()) or await self._waiting():
            count = sum(log.deliveries.total() for log in self.logs.values())
            if count != last:
                last, since = count, time.monotonic()
            elif time.monotonic() - since > QUIET_SECONDS_MAX:
                return
            await asyncio.sleep(0.1)

    async def _waiting(self) -> int:
        """Return what the nodes have not got rid of yet."""
        total = 0
        for node in self.nodes:
            stats = await node.get_json(f"/stats?format=json&topic={TOPIC}&include_clients=false")
            for channel in stats["topics"][0]["channels"]:
                total += channel["depth"] + channel["in_flight_count"]
        return total

    def _report(self, seconds: float) -> Report:
        report = Report(len(self.lines), round(seconds, 1), len(self.unsure))
        for name, log in self.logs.items():
            surplus = Counter(log.bodies.values())
            surplus.subtract(self.lines)
            published_again = Counter(self.unsure)
            report.channels[name] = ChannelReport(
                deliveries=dict(log.deliveries),
                repeated=len(log.repeated),
                repeated_without_reason=sum(
                    log.first_seen[message_id] < self.killed_at - UNSURE_SECONDS
                    for message_id in log.repeated
                ),
                published_again=sum(count for count in surplus.values() if count > 0),
                missing=-sum(count for count in surplus.values() if count < 0),
                unexpected=sum(
                    max(0, count - published_again[body]) for body, count in surplus.items()
                ),
                wrong=len(log.wrong),
            )
        return report


async def run(folder: Path, lines: list[bytes]) -> Report:
    """Run it with the cluster's data in ``folder``."""
    async with running_cluster(folder) as cluster:
        return await _Run(cluster, lines).run()


def main() -> int:
    """Run it and print the outcome; the exit code is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
    parser.add_argument("--lines", type=int, default=None, help="publish no more than these")
    options = parser.parse_args()
    lines = list(islice(lines_of_standard_library(), options.lines))
    print(f"{len(lines)} lines", file=sys.stderr)  # noqa: T201 - a command line prints
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run(Path(folder), lines))
    print(json.dumps(asdict(report), indent=2))  # noqa: T201 - a command line prints
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
