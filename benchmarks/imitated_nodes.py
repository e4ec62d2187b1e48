"""Many nodes with many topics, as far as /info, /ping and /stats go: to try sizes."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web

__all__ = ["imitated_nodes"]

TOPICS_OF_A_NODE = 2  # nodes that have the same topic
CHANNELS = ("archive", "billing", "mail", "search")


@asynccontextmanager
async def imitated_nodes(
    nodes: int, topics: int, *, are_troubled: bool = False
) -> AsyncIterator[list[str]]:
    """
    Run that many nodes; each topic is on two of them and has four channels. Their addresses.

    If they are troubled, a third of the channels has a backlog that grows, and no consumer.
    """
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(_node(index, nodes, topics, are_troubled))
            for index in range(nodes)
        ]


@asynccontextmanager
async def _node(index: int, nodes: int, topics: int, are_troubled: bool) -> AsyncIterator[str]:
    started_at = time.time()
    held = [topic for topic in range(topics) if (topic + index) % nodes < TOPICS_OF_A_NODE]

    async def stats(_request: web.Request) -> web.Response:
        elapsed = time.time() - started_at
        document = {
            "version": "1.3.0",
            "health": "OK",
            "start_time": int(started_at),
            "topics": [_topic(topic, elapsed, are_troubled=are_troubled) for topic in held],
            "memory": {},
            "producers": [],
        }
        return web.Response(text=json.dumps(document), content_type="application/json")

    async def info(request: web.Request) -> web.Response:
        port = request.url.port
        known = {"broadcast_address": "127.0.0.1", "tcp_port": 4150, "http_port": port}
        return web.json_response({**known, "hostname": f"node-{index}", "version": "1.3.0"})

    app = web.Application()
    app.router.add_get("/stats", stats)
    app.router.add_get("/info", info)
    app.router.add_get("/ping", _pong)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


async def _pong(_request: web.Request) -> web.Response:
    return web.Response(text="OK")


def _topic(topic: int, elapsed: float, *, are_troubled: bool) -> dict[str, Any]:
    rate = 1 + topic % 17  # messages a second: each topic changes each second
    count = int(1000 + elapsed * rate)
    return {
        "topic_name": f"{('team', 'etl', 'shop')[topic % 3]}.topic_{topic}",
        "depth": 0,
        "message_count": count,
        "message_bytes": count * 100,
        "channels": [
            _troubled_channel(name, count)
            if are_troubled and (topic * len(CHANNELS) + index) % 3 == 0
            else _channel(name, topic, count)
            for index, name in enumerate(CHANNELS)
        ],
    }


def _channel(name: str, topic: int, count: int) -> dict[str, Any]:
    return {
        "channel_name": name,
        "depth": (count * 7 + topic) % 90,
        "in_flight_count": count % 11,
        "message_count": count,
        "client_count": 3,
        "clients": [],
    }


def _troubled_channel(name: str, count: int) -> dict[str, Any]:
    return {
        "channel_name": name,
        "depth": count,
        "in_flight_count": 0,
        "message_count": count,
        "client_count": 0,
        "clients": [],
    }
