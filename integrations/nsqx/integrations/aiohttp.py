"""
An ``Nsq`` that lives as long as an aiohttp server application.

    app = web.Application()
    app.cleanup_ctx.append(nsq_context(nsq))

    async def create(request: web.Request) -> web.Response:
        await request.app[NSQ].publish("orders", await request.read())
        return web.Response(status=202)
"""

from collections.abc import AsyncIterator, Callable

from aiohttp import web

from nsqx.client import Nsq

__all__ = ["NSQ", "nsq_context"]

NSQ = web.AppKey("nsq", Nsq)


def nsq_context(nsq: Nsq) -> Callable[[web.Application], AsyncIterator[None]]:
    """
    Return what opens ``nsq`` when the application starts, and runs its handlers.

    When the application ends, they are drained, and it is closed. ``app[NSQ]`` is ``nsq``.
    """

    async def context(app: web.Application) -> AsyncIterator[None]:
        app[NSQ] = nsq
        async with nsq.running():
            yield

    return context
