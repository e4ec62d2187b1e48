"""
The clock on the wall is set by an hour, forward and back, while daemons and clients run.

Nobody is cut off, nothing is delivered again, heartbeats and time-outs go on, and who is registered
stays so: intervals are measured by a clock that nobody sets.
"""

import json
import time
from pathlib import Path

import pytest

from nsqx.protocol import commands
from tests.support.processes import Cluster, Lookupd, eventually
from tests.support.set_clock import SetClock, can_set_clock
from tests.support.wire_client import WireClient

HOUR_S = 3600
NANOSECONDS = 10**9

pytestmark = pytest.mark.skipif(not can_set_clock(), reason="there is no C compiler")


async def consume(client: WireClient, topic: str, **wishes: int) -> None:
    wanted = json.dumps({"heartbeat_interval": 1000, **wishes})
    client.send(commands.identify(wanted.encode()))
    assert await client.response() == b"OK"
    client.send(commands.sub(topic, "c") + commands.rdy(1))
    assert await client.response() == b"OK"


async def until_delivered(client: WireClient, count: int) -> None:
    while len(client.messages) < count:
        assert await client.read(), "it was cut off"


async def is_listed(lookupd: Lookupd) -> bool:
    status, body = await lookupd.get("/lookup?topic=held")
    return status == 200 and len(json.loads(body)["producers"]) == 1


async def test_a_clock_that_is_set_is_noticed_by_nobody(cluster: Cluster, tmp_path: Path) -> None:
    clock = SetClock(tmp_path)
    cluster.prefix = clock.prefix()
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(lookupds=[lookupd])
    async with (
        WireClient(node.tcp_address) as holding,
        WireClient(node.tcp_address) as slow,
        WireClient(node.tcp_address) as quick,
    ):
        await consume(holding, "held")
        await consume(slow, "timed_out", msg_timeout=1000)
        await consume(quick, "quick")
        await node.post("/pub?topic=held", b"x")
        await node.post("/pub?topic=timed_out", b"x")
        await until_delivered(holding, 1)
        await until_delivered(slow, 1)
        await eventually(lambda: is_listed(lookupd), "the node is registered")
        for round_number, ahead_s in enumerate((HOUR_S, -HOUR_S), 1):
            clock.set_ahead(ahead_s)
            await node.post("/pub?topic=quick", b"x")
            await until_delivered(quick, round_number)
            published_s = quick.messages[-1].timestamp_ns / NANOSECONDS
            assert abs(published_s - ahead_s - time.time()) < HOUR_S / 2  # so it was set
            quick.send(commands.fin(quick.messages[-1].id))
            # A second of a real clock: one time-out, and a heartbeat or two.
            await until_delivered(slow, round_number + 1)
            beats = holding.heartbeats
            while holding.heartbeats == beats:
                assert await holding.read(), "it was cut off"
            assert len(holding.messages) == 1
            assert await is_listed(lookupd)
        holding.send(commands.fin(holding.messages[0].id) + commands.cls())
        assert await holding.response() == b"CLOSE_WAIT"
    assert [each.attempts for each in slow.messages] == [1, 2, 3]
