"""
nsqadmin in front of a large cluster, with one viewer: what it costs, and how much it sends.

    python -m benchmarks.dashboard
    python -m benchmarks.dashboard --topics 1000 --channels 2 --nodes 10 --everywhere
    python -m benchmarks.dashboard --everywhere --nsqx --watch topology --watch registry

The nsqds and the nsqlookupd are prepared answers of this process; every counter grows, so every row
changes each second, which is the most that can happen. Without ``--everywhere`` each topic is on
one node. With ``--nsqx`` the nodes tell what only ours do (``/metrics``). The budget: under 10 % of
a core for 2,000 channels on ten nodes.
"""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from benchmarks.usage import BrokerProcess
from benchmarks.worker import LoadError

START_SECONDS_MAX = 20.0
WARM_SECONDS = 8.0  # the windows of rates are full then
NANOSECONDS = 1_000_000_000

_LISTENING = re.compile(r"\bHTTP: listening on ([^ ]+:\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Size:
    """A cluster of prepared answers."""

    nodes: int
    topics: int
    channels: int
    everywhere: bool
    nsqx: bool

    def topics_of(self, node: int) -> list[str]:
        return [
            f"topic-{number:04d}"
            for number in range(self.topics)
            if self.everywhere or number % self.nodes == node
        ]


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured."""

    cpu_percent: float
    rss_mb: float
    update_kb: float
    updates: int
    snapshot_kb: float

    def print(self) -> None:
        for each in fields(self):
            sys.stdout.write(f"{getattr(self, each.name):>12,.1f}  {each.name}\n")


def stats(topics: list[str], channels: int, count: int) -> dict[str, Any]:
    """What NSQ 1.3.0's nsqd answers whose counters have reached ``count``, without clients."""
    latency = {"count": 0, "percentiles": None}
    numbers = {
        "depth": count % 50,
        "backend_depth": 0,
        "in_flight_count": 3,
        "deferred_count": 0,
        "message_count": count * 3,
        "requeue_count": 0,
        "timeout_count": 0,
        "client_count": 2,
        "clients": None,
        "paused": False,
        "e2e_processing_latency": latency,
    }
    all_channels = [{"channel_name": f"channel-{number}", **numbers} for number in range(channels)]
    return {
        "version": "1.3.0",
        "health": "OK",
        "start_time": 1,
        "topics": [
            {
                "topic_name": topic,
                "channels": all_channels,
                "depth": 0,
                "backend_depth": 0,
                "message_count": count * 3,
                "message_bytes": count * 30,
                "paused": False,
                "e2e_processing_latency": latency,
            }
            for topic in topics
        ],
    }


def metrics(topics: list[str], channels: int) -> bytes:
    """What our nsqd's ``/metrics`` has besides, where something waits in each channel."""
    lines = ["nsqd_disk_free_bytes 1000000000000", "process_open_fds 20"]
    for topic in topics:
        lines += [
            f'nsqd_topic_log_bytes{{topic="{topic}"}} 4000000',
            f'nsqd_topic_log_segments{{topic="{topic}"}} 1',
        ]
        lines += [
            "nsqd_channel_oldest_unfinished_age_seconds"
            f'{{topic="{topic}",channel="channel-{number}"}} {random.uniform(0.1, 60)}'
            for number in range(channels)
        ]
    return "\n".join(lines).encode()


@asynccontextmanager
async def serving(routes: dict[str, Any]) -> AsyncIterator[int]:
    """Serve functions that return the answer, by path; the port."""
    app = web.Application()

    async def handle(request: web.Request) -> web.Response:
        if request.path not in routes:
            return web.Response(status=404)
        answer = routes[request.path]()
        is_text = isinstance(answer, bytes)
        return web.Response(body=answer if is_text else msgspec.json.encode(answer))

    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def cluster(size: Size) -> AsyncIterator[str]:
    """Run the prepared daemons; the address of the nsqlookupd."""
    began = time.monotonic()

    def nsqd(topics: list[str]) -> dict[str, Any]:
        def answer() -> dict[str, Any]:
            return stats(topics, size.channels, int((time.monotonic() - began) * 10) + 1)

        more = {"/metrics": lambda: metrics(topics, size.channels)} if size.nsqx else {}
        return {"/stats": answer, **more}

    async with AsyncExitStack() as stack:
        producers = []
        for node in range(size.nodes):
            topics = size.topics_of(node)
            port = await stack.enter_async_context(serving(nsqd(topics)))
            producers.append(
                {
                    "broadcast_address": "127.0.0.1",
                    "hostname": f"node-{node}",
                    "tcp_port": 1,
                    "http_port": port,
                    "version": "1.3.0",
                    "topics": topics,
                    "tombstones": [False] * len(topics),
                }
            )
        names = [f"topic-{number:04d}" for number in range(size.topics)]
        routes = {
            "/nodes": lambda: {"producers": producers},
            "/topics": lambda: {"topics": names},
            "/info": lambda: {"version": "1.3.0"},
        }
        port = await stack.enter_async_context(serving(routes))
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def dashboard(
    sources: Sequence[str], folder: Path
) -> AsyncIterator[tuple[str, BrokerProcess]]:
    """Run nsqadmin with options that say where the cluster is; its address and its process."""
    log = folder / "log"
    process = _start(sources, log)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while (found := _LISTENING.search(log.read_text())) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise LoadError(f"nsqadmin does not listen:\n{log.read_text()}")
            await asyncio.sleep(0.02)
        yield found[1], BrokerProcess(process.pid)
    finally:
        process.terminate()
        process.wait()


def _start(sources: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nsqx.admin", "--http-address=127.0.0.1:0", *sources]
    with log.open("wb") as stderr:
        return subprocess.Popen(command, stderr=stderr)


async def measure(size: Size, keys: list[str], seconds: float) -> Figures:
    """Watch for some seconds."""
    with TemporaryDirectory() as folder:
        async with (
            cluster(size) as lookupd,
            dashboard([f"--lookupd-http-address={lookupd}"], Path(folder)) as (address, process),
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://{address}/api/v2/ws", max_msg_size=0) as socket,
        ):
            await socket.send_json({"sub": ["summary", *keys]})
            await _read(socket, WARM_SECONDS)
            before = process.cpu_time()
            sizes = await _read(socket, seconds)
            spent = process.cpu_time().since(before)
            async with session.get(f"http://{address}/api/v2/snapshot") as response:
                snapshot = await response.read()
            return Figures(
                cpu_percent=100 * spent.total_ns / (seconds * NANOSECONDS),
                rss_mb=process.rss_bytes() / 1e6,
                update_kb=sum(sizes) / max(1, len(sizes)) / 1e3,
                updates=len(sizes),
                snapshot_kb=len(snapshot) / 1e3,
            )


async def _read(socket: aiohttp.ClientWebSocketResponse, seconds: float) -> list[int]:
    sizes: list[int] = []
    deadline = time.monotonic() + seconds
    while (left_s := deadline - time.monotonic()) > 0:
        with suppress(TimeoutError):
            sizes.append(len(await socket.receive_str(timeout=left_s)))
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard")
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--topics", type=int, default=1000)
    parser.add_argument("--channels", type=int, default=2, help="of each topic")
    parser.add_argument("--everywhere", action="store_true", help="every topic is on every node")
    parser.add_argument("--nsqx", action="store_true", help="the nodes are ours")
    parser.add_argument(
        "--watch", action="append", default=[], help="a document besides summary; may be repeated"
    )
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    size = Size(options.nodes, options.topics, options.channels, options.everywhere, options.nsqx)
    asyncio.run(measure(size, options.watch, options.seconds)).print()


if __name__ == "__main__":
    main()
