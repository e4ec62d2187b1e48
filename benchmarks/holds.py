"""
How long single steps of nsqd hold its event loop, with 1,000 channels on one topic.

    python -m benchmarks.holds

The node runs in this process, on asyncio's own event loop. Counted is the CPU time of the loop's
thread, which other programs do not lengthen as they do the time on the clock; the garbage
collector does not walk what is not nsqd's.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import aiohttp

from benchmarks.machine import Machine
from benchmarks.worker import LoadError
from nsqx.client import Producer
from nsqx.nsqd.daemon import Nsqd
from nsqx.nsqd.log.limits import LOG_LIMITS, LogLimits
from nsqx.nsqd.options import NsqdOptions
from nsqx.runtime.process import logs
from nsqx.runtime.process.logs import Level

BUDGET_S = 0.02
MESSAGES = 5_000
SEGMENT_BYTES = 200_000
SECONDS_MAX = 60.0
POLL_SECONDS = 0.01
TOPIC = "t"


class Holds:
    """The longest step so far: its CPU seconds, and what was called."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.longest = ""

    def add(self, seconds: float, handle: asyncio.Handle) -> None:
        """Note a step."""
        if seconds > self.longest_s:
            self.longest_s, self.longest = seconds, repr(handle)


@contextmanager
def measured() -> Iterator[Holds]:
    """Measure all steps of event loops of this thread."""
    holds = Holds()
    run: Any = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        holds.add(time.thread_time() - began, handle)

    with mock.patch.object(asyncio.Handle, "_run", timed):
        yield holds


class Measurement:
    """One node, and the longest hold of each thing that is done to it, in order."""

    def __init__(self, nsqd: Nsqd, http: aiohttp.ClientSession, channels: int) -> None:
        self.longest: dict[str, Holds] = {}
        self._nsqd = nsqd
        self._http = http
        self._topic = nsqd.broker.get_topic(TOPIC)
        self._channels = [nsqd.broker.get_channel(self._topic, f"c{n:04}") for n in range(channels)]
        nsqd.broker.flush()

    async def all(self) -> None:
        """Do everything once."""
        await self._measure("publishing, passed on to all channels", self._publish)
        for path in ("/stats?format=json", "/stats", "/metrics"):
            await self._measure(path, partial(self._ask, "GET", path))
        # Every channel is done with everything: all journals are to be written, segments go.
        await self._measure("journals and retention", self._finish)
        await self._measure("checkpoints of all channels", self._checkpoint)
        deletion = partial(self._ask, "POST", f"/topic/delete?topic={TOPIC}")
        await self._measure("deletion of the topic", deletion)

    async def _measure(self, what: str, do: Callable[[], Awaitable[None]]) -> None:
        with measured() as self.longest[what]:
            await do()

    async def _publish(self) -> None:
        async with Producer(self._nsqd.tcp_address) as producer:
            await producer.publish_many(TOPIC, [b"x" * 200] * MESSAGES)

    async def _ask(self, method: str, path: str) -> None:
        url = f"http://{self._nsqd.http_address}{path}"
        async with self._http.request(method, url) as answer:
            await answer.read()
            if answer.status != 200:
                raise LoadError(f"{method} {path} was answered {answer.status}")

    async def _finish(self) -> None:
        for channel in self._channels:
            channel.empty()
        await _until(lambda: self._topic.log.first > 0, "segments that nobody needs go")

    async def _checkpoint(self) -> None:
        folder = self._nsqd.storage.root / "topics" / f"{TOPIC}.topic"

        def are_written() -> bool:
            return not any(folder.glob("*.channel.0.journal"))

        for channel in self._channels:
            assert channel.backlog.store is not None
            channel.backlog.store.limits = LogLimits(checkpoint_bytes=0)
            channel.empty()
        await _until(are_written, "all channels have a checkpoint")
        for channel in self._channels:
            assert channel.backlog.store is not None
            channel.backlog.store.limits = LOG_LIMITS

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        yield f"{'step':40}{'longest ms':>12}  within {BUDGET_S * 1000:.0f}"
        for what, holds in self.longest.items():
            is_met = "yes" if holds.longest_s <= BUDGET_S else f"NO: {holds.longest}"
            yield f"{what:40}{holds.longest_s * 1000:12.1f}  {is_met}"


async def _until(check: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(SECONDS_MAX):
            # In another thread, which does not count.
            while not await asyncio.to_thread(check):  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise LoadError(f"not in {SECONDS_MAX:.0f} s: {what}") from None


@asynccontextmanager
async def _node(folder: Path) -> AsyncIterator[tuple[Nsqd, aiohttp.ClientSession]]:
    options = NsqdOptions(
        tcp_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        broadcast_address="127.0.0.1",
        data_path=str(folder),
        max_bytes_per_file=SEGMENT_BYTES,
        e2e_processing_latency_percentile=[1.0, 0.99],
    )
    async with Nsqd(options) as nsqd, aiohttp.ClientSession() as http:
        yield nsqd, http


async def measure(channels: int, directory: str) -> Measurement:
    """Start a node and measure it."""
    with TemporaryDirectory(prefix="nsqx-benchmark-", dir=directory) as folder:
        async with _node(Path(folder)) as (nsqd, http):
            measurement = Measurement(nsqd, http, channels)
            gc.collect()
            gc.freeze()
            try:
                await measurement.all()
            finally:
                gc.unfreeze()
    return measurement


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure once and print the longest holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.holds", description=__doc__)
    add = parser.add_argument
    add("--channels", type=int, default=1_000)
    add("--directory", default="/var/tmp", help="for the data of nsqd")
    add("--json", action="store_true", help="print JSON: milliseconds by step")
    options = parser.parse_args(arguments)
    level = logs.get_level()
    logs.set_level(Level.WARNING)  # a line for each channel would be written here, too
    try:
        measurement = asyncio.run(measure(options.channels, options.directory))
    finally:
        logs.set_level(level)
    if options.json:
        found = {what: holds.longest_s * 1000 for what, holds in measurement.longest.items()}
        print(json.dumps(found))
    else:
        print(Machine.read(), *measurement.lines(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
