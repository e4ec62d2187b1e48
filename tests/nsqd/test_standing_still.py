"""A node that stood still, as under SIGSTOP or on a host that has no time for it."""

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from nsqx.protocol import commands
from tests.support.node import running_node

MILLISECOND_NS = 1_000_000


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_was_sent_meanwhile_is_in_time(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def finish_meanwhile() -> tuple[int, int]:
        loop, stood_still = asyncio.get_running_loop(), asyncio.Event()

        def finish_and_stand_still(sender: socket.socket) -> None:
            received = sender.recv(1000)
            if received.endswith(b"x"):
                sender.send(commands.fin(received[-17:-1]))
                time.sleep(0.3)  # longer than `msg_timeout`
                loop.remove_reader(sender)
                stood_still.set()

        async with running_node(tmp_path, msg_timeout=200 * MILLISECOND_NS) as node:
            host, _, port = node.tcp_address.rpartition(":")
            # A plain socket: its bytes are with the kernel at once, and the node has not read them.
            with socket.create_connection((host, int(port))) as sender:
                loop.add_reader(sender, finish_and_stand_still, sender)
                sender.send(commands.MAGIC_V2 + commands.pub("t", b"x"))
                sender.send(commands.sub("t", "c") + commands.rdy(1))
                await stood_still.wait()
                (topic,) = (await node.stats())["topics"]
                (channel,) = topic["channels"]
                return channel["timeout_count"], channel["depth"] + channel["in_flight_count"]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(finish_meanwhile()) == (0, 0)
