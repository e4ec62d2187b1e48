"""
Python's NSQ clients against the same broker, in the same run: messages per second, CPU per message.

    python -m benchmarks.clients
    python -m benchmarks.clients --only 'consume/*' --messages 100000 --runs 5

Every measurement is a process of its own, on a topic of its own of one nsqd, and rounds go through
all clients in turn, so that what else happens on the machine hits all alike. Medians are shown.

    consume     a backlog is delivered over one connection, max_in_flight 500; the handler
                finishes the message and does nothing else. From the first message to the last.
    publish     one message per call, 100 calls at a time. From the first call to the last OK.
    batches     200 messages per MPUB, one call at a time, or however the client does it.

Clients that are not installed are left out.
"""

import argparse
import asyncio
import functools
import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.broker import OwnBroker
from benchmarks.machine import Machine
from benchmarks.worker import LoadError

IN_FLIGHT = 500
CALLS = 100  # publishes at a time
BATCH = 200
BODY = b"x" * 200
CHANNEL = "channel"
SECONDS_MAX = 300.0


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement."""

    name: str
    address: str
    topic: str
    messages: int

    @property
    def host(self) -> str:
        return self.address.partition(":")[0]

    @property
    def port(self) -> int:
        return int(self.address.partition(":")[2])


class Meter:
    """Counts messages, and reads the clocks at the first and at the last one."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._count = 0
        self._started = self._ended = (0, 0)

    def start(self) -> None:
        self._started = (time.perf_counter_ns(), time.process_time_ns())

    def tick(self) -> bool:
        """Count one message; whether it was the last."""
        if not self._count:
            self.start()
        self._count += 1
        if self._count == self._messages:
            self.stop()
            return True
        return False

    def stop(self) -> None:
        self._ended = (time.perf_counter_ns(), time.process_time_ns())

    def report(self) -> None:
        elapsed, cpu = (end - start for start, end in zip(self._started, self._ended, strict=True))
        figures = {"rate": self._messages / elapsed * 1e9, "cpu_us": cpu / 1e3 / self._messages}
        print(json.dumps(figures))


# Ours


async def nsqx_handler(job: Job, meter: Meter) -> None:
    from nsqx.client import Consumer, Message

    done = asyncio.Event()

    def handle(message: Message) -> None:
        if meter.tick():
            done.set()

    async with Consumer(job.topic, CHANNEL, nsqd=job.address, max_in_flight=IN_FLIGHT) as consumer:
        running = asyncio.create_task(consumer.run(handle))
        await done.wait()
        await consumer.close()
        await running


async def nsqx_async_for(job: Job, meter: Meter) -> None:
    from nsqx.client import Consumer

    async with Consumer(job.topic, CHANNEL, nsqd=job.address, max_in_flight=IN_FLIGHT) as consumer:
        async for message in consumer:
            message.finish()
            if meter.tick():
                break


async def nsqx_async_with(job: Job, meter: Meter) -> None:
    from nsqx.client import Consumer

    async with Consumer(job.topic, CHANNEL, nsqd=job.address, max_in_flight=IN_FLIGHT) as consumer:
        async for message in consumer:
            async with message:
                if meter.tick():
                    break


async def nsqx_publish(job: Job, meter: Meter) -> None:
    from nsqx.client import Producer

    async with Producer(job.address) as producer:
        await producer.ready()
        await publish_in_parallel(job, meter, functools.partial(producer.publish, job.topic, BODY))


async def nsqx_publish_values(job: Job, meter: Meter) -> None:
    from nsqx.client import Nsq

    async with Nsq(nsqd=job.address) as nsq:
        await nsq.ready()
        await publish_in_parallel(job, meter, functools.partial(nsq.publish, job.topic, BODY))


async def nsqx_batches(job: Job, meter: Meter) -> None:
    from nsqx.client import Producer

    async with Producer(job.address) as producer:
        await producer.ready()
        meter.start()
        await producer.publish_many(job.topic, (BODY for _ in range(job.messages)))
        meter.stop()


# pynsq (Tornado)


async def pynsq_consume(job: Job, meter: Meter) -> None:
    import nsq

    done = asyncio.Event()

    def handle(message: Any) -> bool:
        if meter.tick():
            done.set()
        return True

    nsq.Reader(
        topic=job.topic,
        channel=CHANNEL,
        message_handler=handle,
        nsqd_tcp_addresses=[job.address],
        max_in_flight=IN_FLIGHT,
    )
    await done.wait()


async def pynsq_publish(job: Job, meter: Meter) -> None:
    publish = await _pynsq_call(job, "pub")
    await publish_in_parallel(job, meter, lambda: publish(BODY))


async def pynsq_batches(job: Job, meter: Meter) -> None:
    publish = await _pynsq_call(job, "mpub")
    await publish_batches(job, meter, lambda: publish([BODY] * BATCH))


async def _pynsq_call(job: Job, method: str) -> Callable[[Any], Awaitable[None]]:
    import nsq

    writer = nsq.Writer([job.address])
    while not writer.conns:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)

    def call(body: Any) -> Awaitable[None]:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        getattr(writer, method)(job.topic, body, callback=lambda *_: answered.set_result(None))
        return answered

    return call


# ansq (asyncio)


async def ansq_consume(job: Job, meter: Meter) -> None:
    import ansq

    # Its Reader has one message in flight, always; its connections may have more.
    connection = await ansq.open_connection(job.host, job.port)
    await connection.subscribe(job.topic, CHANNEL, IN_FLIGHT)
    async for message in connection.messages():
        await message.fin()
        if meter.tick():
            break


async def ansq_publish(job: Job, meter: Meter) -> None:
    import ansq

    writer = await ansq.create_writer(nsqd_tcp_addresses=[job.address])
    await publish_in_parallel(job, meter, lambda: writer.pub(job.topic, BODY))


async def ansq_batches(job: Job, meter: Meter) -> None:
    import ansq

    writer = await ansq.create_writer(nsqd_tcp_addresses=[job.address])
    await publish_batches(job, meter, lambda: writer.mpub(job.topic, *[BODY] * BATCH))


# asyncnsq (asyncio)


async def asyncnsq_consume(job: Job, meter: Meter) -> None:
    import asyncnsq

    reader = await asyncnsq.create_reader([job.address], max_in_flight=IN_FLIGHT)
    await reader.subscribe(job.topic, CHANNEL)
    async for message in reader.messages():
        await message.fin()
        if meter.tick():
            break


async def asyncnsq_publish(job: Job, meter: Meter) -> None:
    import asyncnsq

    writer = await asyncnsq.create_writer(host=job.host, port=job.port)
    await publish_in_parallel(job, meter, lambda: writer.pub(job.topic, BODY))


async def asyncnsq_batches(job: Job, meter: Meter) -> None:
    import asyncnsq

    writer = await asyncnsq.create_writer(host=job.host, port=job.port)
    await publish_batches(job, meter, lambda: writer.mpub(job.topic, *[BODY] * BATCH))


# gnsq (gevent)


def gnsq_consume(job: Job, meter: Meter) -> None:
    import gnsq

    consumer = gnsq.Consumer(job.topic, CHANNEL, job.address, max_in_flight=IN_FLIGHT)

    def handle(consumer: Any, message: Any) -> None:
        if meter.tick():
            consumer.close()

    consumer.on_message.connect(handle, weak=False)
    consumer.start()


def gnsq_publish(job: Job, meter: Meter) -> None:
    import gevent

    producer = _gnsq_producer(job)

    def publish() -> None:
        for _ in range(job.messages // CALLS):
            producer.publish(job.topic, BODY)

    meter.start()
    gevent.joinall([gevent.spawn(publish) for _ in range(CALLS)], raise_error=True)
    meter.stop()


def gnsq_batches(job: Job, meter: Meter) -> None:
    producer = _gnsq_producer(job)
    meter.start()
    for _ in range(job.messages // BATCH):
        producer.multipublish(job.topic, [BODY] * BATCH)
    meter.stop()


def _gnsq_producer(job: Job) -> Any:
    import gnsq

    producer = gnsq.Producer(job.address)
    producer.start()
    return producer


# All


async def publish_in_parallel(
    job: Job, meter: Meter, publish: Callable[[], Awaitable[object]]
) -> None:
    """Make all calls, ``CALLS`` at a time."""

    async def calls() -> None:
        for _ in range(job.messages // CALLS):
            await publish()

    meter.start()
    await asyncio.gather(*(calls() for _ in range(CALLS)))
    meter.stop()


async def publish_batches(job: Job, meter: Meter, publish: Callable[[], Awaitable[object]]) -> None:
    """Make one call after another."""
    meter.start()
    for _ in range(job.messages // BATCH):
        await publish()
    meter.stop()


MEASUREMENTS: dict[str, Callable[[Job, Meter], Awaitable[None] | None]] = {
    "consume/nsqx, handler": nsqx_handler,
    "consume/nsqx, async for": nsqx_async_for,
    "consume/nsqx, async with message": nsqx_async_with,
    "consume/pynsq, handler": pynsq_consume,
    "consume/ansq (connection), async for": ansq_consume,
    "consume/asyncnsq, async for": asyncnsq_consume,
    "consume/gnsq, handler": gnsq_consume,
    "publish/nsqx, Producer": nsqx_publish,
    "publish/nsqx, Nsq": nsqx_publish_values,
    "publish/pynsq": pynsq_publish,
    "publish/ansq": ansq_publish,
    "publish/asyncnsq": asyncnsq_publish,
    "publish/gnsq": gnsq_publish,
    "batches/nsqx, publish_many": nsqx_batches,
    "batches/pynsq": pynsq_batches,
    "batches/ansq": ansq_batches,
    "batches/asyncnsq": asyncnsq_batches,
    "batches/gnsq": gnsq_batches,
}
PACKAGES = {"nsqx": "nsqx", "pynsq": "nsq", "ansq": "ansq", "asyncnsq": "asyncnsq", "gnsq": "gnsq"}
UVLOOP = " (uvloop)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. Returns 1 when a client could not do it."""
    options = _parser().parse_args(arguments)
    if options.job:
        work(Job(**json.loads(options.job)))
        return 0
    names = [name for name in _names() if fnmatch(name, options.only)]
    print(Machine.read(), flush=True)
    failed: set[str] = set()
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with _broker(options.directory) as broker:
        for run in range(options.runs):
            for number, name in enumerate(names):
                job = Job(
                    name, f"{broker.host}:{broker.port}", f"t{run}-{number}", options.messages
                )
                try:
                    measured[name].append(_measure(broker, job))
                except LoadError as exc:
                    failed.add(name)
                    print(f"{name}: {exc}", file=sys.stderr, flush=True)
    print("\n".join(_table(measured)))
    return int(bool(failed))


def work(job: Job) -> None:
    """Do one measurement in this process."""
    meter = Meter(job.messages)
    measure = MEASUREMENTS[job.name.removesuffix(UVLOOP)]
    if not asyncio.iscoroutinefunction(measure):
        measure(job, meter)
    elif job.name.endswith(UVLOOP):
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(job, meter))
    else:
        asyncio.run(measure(job, meter))
    meter.report()


def _names() -> Iterator[str]:
    for name in MEASUREMENTS:
        client = re.split(r"[/, ]", name)[1]
        if importlib.util.find_spec(PACKAGES[client]) is not None:
            yield name
            if client == "nsqx":
                yield name + UVLOOP


def _measure(broker: OwnBroker, job: Job) -> dict[str, float]:
    """
    Run a measurement in a process.

    Raises:
        LoadError: it failed, or took too long.
    """
    broker.create(job.topic, CHANNEL)
    if job.name.startswith("consume"):
        asyncio.run(_fill(job))
    command = [sys.executable, "-m", "benchmarks.clients", "--job", json.dumps(asdict(job))]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired as exc:
        raise LoadError(f"not in {SECONDS_MAX:g} s") from exc
    finally:
        broker.delete_topic(job.topic)
    if ran.returncode:
        raise LoadError(ran.stderr.strip().splitlines()[-1])
    figures: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return figures


async def _fill(job: Job) -> None:
    from nsqx.client import Producer

    async with Producer(job.address) as producer:
        await producer.publish_many(job.topic, (BODY for _ in range(job.messages)))


def _table(measured: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    yield f"{'':<42}{'messages/s':>12}{'CPU us/message':>16}"
    for name, figures in measured.items():
        if figures:
            rate, cpu = (median(each[key] for each in figures) for key in ("rate", "cpu_us"))
            yield f"{name:<42}{rate:>12,.0f}{cpu:>16.1f}"


@contextmanager
def _broker(directory: str) -> Iterator[OwnBroker]:
    with TemporaryDirectory(prefix="nsqx-benchmark-", dir=directory) as folder:
        broker = OwnBroker(Path(folder))
        try:
            yield broker
        finally:
            broker.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    add = parser.add_argument
    add("--messages", type=int, default=50_000, help="of each measurement (default 50,000)")
    add("--runs", type=int, default=3, help="medians of so many are shown (default 3)")
    add("--only", default="*", metavar="PATTERN", help="those whose name matches: 'consume/*'")
    add("--directory", default="/var/tmp", help="where the nsqd keeps its data")
    add("--job", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
