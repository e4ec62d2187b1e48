"""A small HTTP server with prepared answers, for what asks other daemons over HTTP."""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

__all__ = ["FakeHttp", "fake_http"]


@dataclass
class FakeHttp:
    """
    The server; change ``answers`` while it runs.

    An answer is found by path with query, else by path alone. It is text as it is, anything else as
    JSON, ``(status, body)`` for another status than 200, or an exception class: then the connection
    is cut without an answer.
    """

    answers: dict[str, Any]
    address: str = ""
    requests: list[str] = field(default_factory=list)  # paths with their queries, in order
    authorizations: list[str | None] = field(default_factory=list)  # the headers of these
    hosts: list[str] = field(default_factory=list)  # and whom they named

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        self.authorizations.append(request.headers.get("Authorization"))
        self.hosts.append(request.host)
        answer = self.answers.get(request.path_qs, self.answers.get(request.path))
        if answer is ConnectionResetError:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer is None:
            answer = (404, {"message": "NOT_FOUND"})
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text)


@asynccontextmanager
async def fake_http(
    answers: Mapping[str, Any],
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[FakeHttp]:
    """Run a server with these answers by path, on a port of its own unless one is named."""
    fake = FakeHttp(dict(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.address = f"{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()
