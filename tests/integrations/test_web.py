"""Applications of aiohttp, Starlette and FastAPI that open, use and drain an ``Nsq``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import fastapi
import httpx
import pydantic
from aiohttp import ClientSession, web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nsqx.client import Nsq
from nsqx.integrations.aiohttp import NSQ, nsq_context
from nsqx.integrations.asgi import get_nsq, nsq_lifespan
from nsqx.testing.cluster import Cluster

WAIT_SECONDS = 10.0


class Order(pydantic.BaseModel):
    id: int


def with_handler(nsq: Nsq) -> asyncio.Future[Order]:
    """Have it handle orders; the first one is the result."""
    first: asyncio.Future[Order] = asyncio.get_running_loop().create_future()

    @nsq.handler("orders", "billing")
    async def bill(order: Order) -> None:
        first.set_result(order)

    return first


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_aiohttp(nsq_server: Cluster) -> None:
    nsq = nsq_server.client()
    handled = with_handler(nsq)

    async def create(request: web.Request) -> web.Response:
        await request.app[NSQ].publish("orders", await request.read())
        return web.Response(status=202)

    app = web.Application()
    app.cleanup_ctx.append(nsq_context(nsq))
    app.router.add_post("/orders", create)
    async with serving(app) as url, ClientSession() as session:
        async with session.post(f"{url}/orders", data=b'{"id":1}') as response:
            assert response.status == 202
        assert await asyncio.wait_for(handled, WAIT_SECONDS) == Order(id=1)
    assert not nsq.is_open


@asynccontextmanager
async def lifespan_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Do what an ASGI server does: start, serve, and end an application."""
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: asyncio.Queue[Any] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    running = asyncio.create_task(app(scope, received.get, sent.put))
    received.put_nowait({"type": "lifespan.startup"})
    assert (await sent.get())["type"] == "lifespan.startup.complete"

    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    transport = httpx.ASGITransport(with_state)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    received.put_nowait({"type": "lifespan.shutdown"})
    assert (await sent.get())["type"] == "lifespan.shutdown.complete"
    await running


async def test_starlette(nsq_server: Cluster) -> None:
    nsq = nsq_server.client()
    handled = with_handler(nsq)

    async def create(request: Request) -> Response:
        await get_nsq(request).publish("orders", await request.body())
        return Response(status_code=202)

    routes = [Route("/orders", create, methods=["POST"])]
    async with lifespan_of(Starlette(routes=routes, lifespan=nsq_lifespan(nsq))) as client:
        assert (await client.post("/orders", content=b'{"id":1}')).status_code == 202
        assert await asyncio.wait_for(handled, WAIT_SECONDS) == Order(id=1)
    assert not nsq.is_open


async def test_fastapi(nsq_server: Cluster) -> None:
    nsq = nsq_server.client()
    handled = with_handler(nsq)
    app = fastapi.FastAPI(lifespan=nsq_lifespan(nsq))

    @app.post("/orders", status_code=202)
    async def create(order: Order, nsq: Annotated[Nsq, fastapi.Depends(nsq_of)]) -> None:
        await nsq.publish("orders", order)

    async with lifespan_of(app) as client:
        assert (await client.post("/orders", json={"id": 1})).status_code == 202
        assert await asyncio.wait_for(handled, WAIT_SECONDS) == Order(id=1)
    assert not nsq.is_open


def nsq_of(request: fastapi.Request) -> Nsq:
    return get_nsq(request)


async def test_a_second_lifespan_is_within_the_first(nsq_server: Cluster) -> None:
    nsq = nsq_server.client()
    was_open = []

    @asynccontextmanager
    async def other(app: Any) -> AsyncIterator[dict[str, Any]]:
        was_open.append(nsq.is_open)
        yield {"other": 5}
        was_open.append(nsq.is_open)

    async with nsq_lifespan(nsq, other)(None) as state:
        assert state == {"other": 5, "nsq": nsq}
    assert was_open == [True, True]
    assert not nsq.is_open
