"""
An nsqd within the test's own process, and HTTP to it.

    async with running_node(tmp_path, msg_timeout=SECOND_NS) as node:
        await node.post("/pub?topic=orders", b"hello")
        (topic,) = (await node.stats())["topics"]
        async with node.client() as client: ...
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.daemon import Nsqd
from nsqx.nsqd.options import NsqdOptions
from tests.support.wire_client import WireClient

__all__ = ["Node", "running_node"]


class Node:
    """One nsqd and a client session for it."""

    def __init__(self, nsqd: Nsqd, http: aiohttp.ClientSession) -> None:
        self.nsqd = nsqd
        self._http = http

    @property
    def broker(self) -> Broker:
        return self.nsqd.broker

    @property
    def tcp_address(self) -> str:
        return self.nsqd.tcp_address

    def client(self) -> WireClient:
        """A client of the TCP protocol, to be entered."""
        return WireClient(self.nsqd.tcp_address)

    async def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request; the path is sent as it is."""
        url = URL(f"http://{self.nsqd.http_address}{path}", encoded=True)
        async with self._http.request(method, url, data=body) as answer:
            return answer.status, await answer.read()

    async def post(self, path: str, body: bytes = b"") -> bytes:
        """POST what must be answered 200; the body."""
        status, answer = await self.request("POST", path, body)
        assert status == 200, (status, answer)
        return answer

    async def refused(self, method: str, path: str, body: bytes = b"") -> tuple[int, str]:
        """Send what is refused; the status and the code."""
        status, answer = await self.request(method, path, body)
        return status, json.loads(answer)["message"]

    async def get(self, path: str) -> bytes:
        """GET what must be answered 200; the body."""
        status, answer = await self.request("GET", path)
        assert status == 200, (status, answer)
        return answer

    async def get_json(self, path: str) -> Any:
        """GET what must be answered 200; the decoded body."""
        return json.loads(await self.get(path))

    async def stats(self, filters: str = "") -> Any:
        """What ``/stats`` says, as JSON."""
        return await self.get_json(f"/stats?format=json{filters}")


@asynccontextmanager
async def running_node(folder: Path, **options: Any) -> AsyncIterator[Node]:
    """An nsqd over a folder; ``options`` as in `NsqdOptions`."""
    known: dict[str, Any] = {
        "tcp_address": "127.0.0.1:0",
        "http_address": "127.0.0.1:0",
        "broadcast_address": "127.0.0.1",
        "data_path": str(folder),
    }
    async with (
        Nsqd(NsqdOptions(**{**known, **options})) as nsqd,
        aiohttp.ClientSession() as http,
    ):
        yield Node(nsqd, http)
