"""
The WebSocket over real sockets: one that does not read loses versions and never the newest, and
holds up nobody; one that is gone is let go.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from benchmarks.imitated_nodes import imitated_nodes
from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from nsqx.admin.shown.feed import MAPS
from nsqx.admin.shown.live import LiveLimits
from tests.support.processes import eventually

POLL_NS = 100_000_000
TOPICS = 300  # of four channels: a version has 300 KB
VERSIONS = 40  # more than what fits into the buffers of a connection
RECEIVE_BUFFER_BYTES = 64 * 1024


class Viewer:
    """The summary, from full documents and deltas."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.document: dict[str, Any] = {}
        self.seq = 0
        self.skipped = 0
        self.received = 0

    async def read(self) -> None:
        """Take in the next version."""
        message = await self.socket.receive_json(timeout=20)
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


@asynccontextmanager
async def dashboard(
    topics: int = TOPICS, trusted: Sequence[str] = ("127.0.0.0/8",), **limits: Any
) -> AsyncIterator[str]:
    """A dashboard of one node; the address of its WebSocket."""
    async with imitated_nodes(1, topics) as nodes:
        options = AdminOptions(
            http_address="127.0.0.1:0",
            nsqd_http_address=nodes,
            poll_interval=POLL_NS,
            acl_trusted_cidr=list(trusted),
        )
        async with Admin(options, LiveLimits(**limits)) as admin:
            yield f"http://{admin.http_address}/api/v2/ws"


async def test_who_does_not_read_gets_the_newest_and_holds_up_nobody() -> None:
    async with (
        dashboard() as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=0) as one,
        session.ws_connect(url, max_msg_size=0) as other,
    ):
        slow, quick = Viewer(one), Viewer(other)
        _receive_little(one)
        for viewer in (slow, quick):
            await viewer.socket.send_json({"sub": ["summary"]})
            while not viewer.document.get("channels"):
                await viewer.read()
        began_at = slow.seq
        while quick.seq < began_at + VERSIONS:
            await quick.read()
        assert quick.skipped == 0
        while slow.seq < quick.seq:
            await slow.read()
        assert slow.skipped > 0
        assert slow.received < VERSIONS
        while slow.seq != quick.seq:
            await (slow if slow.seq < quick.seq else quick).read()
        assert slow.document == quick.document


async def test_who_never_reads_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        dashboard(send_s_max=0.3) as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=0) as deaf,
    ):
        _receive_little(deaf)
        assert (await deaf.receive_json(timeout=10))["k"] == "hello"
        await deaf.send_json({"sub": ["summary"]})

        await eventually(_nobody_is_sent_to, "it is given up")
        kind = aiohttp.WSMsgType.TEXT
        while kind is aiohttp.WSMsgType.TEXT:  # what had been sent before
            kind = (await deaf.receive(timeout=10)).type
        assert kind in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_who_has_nothing_to_hear_hears_that_the_connection_lives() -> None:
    async with (
        dashboard(topics=1, heartbeat_s=0.2) as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(url) as idle,
    ):
        kinds = [(await idle.receive_json(timeout=10))["k"] for _ in range(3)]
        assert kinds == ["hello", "heartbeat", "heartbeat"]
        await idle.send_json({"pause": True, "sub": ["summary"]})
        assert (await idle.receive_json(timeout=10))["k"] == "heartbeat"


async def test_events_say_that_the_connection_lives() -> None:
    async with dashboard(topics=1, heartbeat_s=0.2) as url, aiohttp.ClientSession() as session:
        events = url.replace("/ws", "/events?key=topic:nosuch")
        async with session.get(events) as response:
            lines = [await response.content.readline() for _ in range(5)]
    assert b'"full":null' in lines[0]
    assert lines[1:] == [b"\n", b": heartbeat\n", b"\n", b": heartbeat\n"]


async def _status_of_next(session: aiohttp.ClientSession, url: str) -> int:
    """Return how one more is answered by events; a WebSocket is answered alike."""
    async with session.get(url.replace("/ws", "/events?key=summary")) as response:
        status = response.status
    if status == 200:
        async with session.ws_connect(url):
            return status
    with pytest.raises(aiohttp.WSServerHandshakeError, match=str(status)):
        await session.ws_connect(url)
    return status


async def test_one_address_may_not_take_all_the_places() -> None:
    async with (
        dashboard(topics=1, trusted=["10.0.0.0/8"], watching_alike=2) as url,
        aiohttp.ClientSession() as session,
    ):
        async with session.ws_connect(url), session.ws_connect(url):
            assert await _status_of_next(session, url) == 503
        await eventually(_nobody_is_sent_to, "they are gone")
        assert await _status_of_next(session, url) == 200


async def test_a_proxy_stands_for_many_and_all_have_one_limit() -> None:
    async with (
        dashboard(topics=1, watching_alike=1, watching=3) as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(url),
        session.ws_connect(url),
        session.ws_connect(url),
    ):
        assert await _status_of_next(session, url) == 503


def _receive_little(viewer: aiohttp.ClientWebSocketResponse) -> None:
    """Otherwise the kernel takes in megabytes for who does not read."""
    _connection(viewer).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def _connection(viewer: aiohttp.ClientWebSocketResponse) -> socket.socket:
    connection: socket.socket = viewer.get_extra_info("socket")
    return connection


async def _nobody_is_sent_to() -> bool:
    return not any(task.get_name() == "live sender" for task in asyncio.all_tasks())
