"""The demonstration's traffic, against a real cluster."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.generate import ROOT
from tests.support.processes import Cluster, Nsqd, eventually

DEMO = ROOT / "deploy" / "compose" / "demo"


@asynccontextmanager
async def running(*command: str | Path, **variables: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=DEMO, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    )
    try:
        yield
        assert process.returncode is None, "it ended by itself"
    finally:
        process.terminate()
        await process.wait()


async def finished(node: Nsqd, topic: str) -> int:
    """How many messages of a topic's only channel are done with."""
    stats = await node.get_json(f"/stats?format=json&topic={topic}")
    channels = [channel for each in stats["topics"] or () for channel in each["channels"] or ()]
    return sum(each["message_count"] - each["depth"] for each in channels)


async def test_orders_are_billed_and_shipped(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    nodes = [await cluster.nsqd(lookupds=[lookupd]) for _ in range(2)]
    variables = {"NSQ_LOOKUPD": lookupd.http_address, "DEMO_BILLING_SECONDS": "0.001"}
    worker = Path(sys.executable).with_name("nsqx")
    async with (
        running(sys.executable, "shop.py", **variables),
        running(worker, "worker", "workers:nsq", **variables),
    ):

        async def moves_everywhere() -> bool:
            counts = [await finished(node, topic) for node in nodes for topic in ("orders", "paid")]
            return min(counts) > 20

        await eventually(moves_everywhere, "orders are billed and shipped on every node")
