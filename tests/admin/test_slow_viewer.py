"""
A viewer that does not read, over a real socket: it loses versions and never the newest, and holds
up nobody.
"""

import socket
from typing import Any

import aiohttp

from nsqx.admin.daemon import Admin
from nsqx.admin.feed import MAPS
from nsqx.admin.options import AdminOptions
from tests.support.fake_nodes import fake_nodes

POLL_NS = 100_000_000
TOPICS = 300  # of four channels: a version has 300 KB
VERSIONS = 40  # more than what fits into the buffers of a connection
RECEIVE_BUFFER_BYTES = 64 * 1024


class Viewer:
    """The summary, from full documents and deltas."""

    def __init__(self, live: aiohttp.ClientWebSocketResponse) -> None:
        self.live = live
        self.document: dict[str, Any] = {}
        self.seq = 0
        self.skipped = 0
        self.received = 0

    async def read(self) -> None:
        """Take in the next version."""
        message = await self.live.receive_json(timeout=20)
        if message["k"] != "summary":
            return
        self.received += 1
        self.skipped += message.get("skipped", 0)
        if "full" in message:
            self.document = message["full"]
        else:
            assert message["base"] == self.seq, "a delta that does not fit"
            self._apply(message["delta"])
        self.seq = message["seq"]

    def _apply(self, delta: dict[str, Any]) -> None:
        for name, section in delta.items():
            if name in MAPS:
                rows = {**self.document[name], **section}
                self.document[name] = {key: row for key, row in rows.items() if row is not None}
            else:
                self.document[name] = section


async def test_who_does_not_read_gets_the_newest_and_holds_up_nobody() -> None:
    async with fake_nodes(1, TOPICS) as nodes:
        options = AdminOptions(
            http_address="127.0.0.1:0", nsqd_http_address=nodes, poll_interval=POLL_NS
        )
        async with (
            Admin(options) as admin,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://{admin.http_address}/api/v2/ws", max_msg_size=0) as one,
            session.ws_connect(f"http://{admin.http_address}/api/v2/ws", max_msg_size=0) as other,
        ):
            slow, quick = Viewer(one), Viewer(other)
            _receive_little(one)
            for viewer in (slow, quick):
                await viewer.live.send_json({"sub": ["summary"]})
                while not viewer.document.get("channels"):
                    await viewer.read()
            began_at = slow.seq
            while quick.seq < began_at + VERSIONS:
                await quick.read()
            assert quick.skipped == 0
            while slow.seq < quick.seq:
                await slow.read()
            assert slow.skipped > 0
            assert slow.received + slow.skipped >= slow.seq - began_at
            assert slow.received < VERSIONS
            while slow.seq != quick.seq:
                await (slow if slow.seq < quick.seq else quick).read()
            assert slow.document == quick.document


def _receive_little(live: aiohttp.ClientWebSocketResponse) -> None:
    """Otherwise the kernel takes in megabytes for who does not read."""
    connection = live.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
