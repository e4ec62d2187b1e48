"""An auth server for tests: answers by the secret, and notes what it was asked."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

__all__ = ["AuthServer", "running_auth_server"]

EVERYTHING = {"topic": ".*", "channels": [".*"], "permissions": ["subscribe", "publish"]}

# What differs from an answer that allows everything for an hour, by secret.
_DIFFERENT: dict[str, dict[str, Any]] = {
    "none": {"authorizations": []},
    "two": {
        "authorizations": [{**EVERYTHING, "topic": "^a$"}, {**EVERYTHING, "topic": "^b$"}],
    },
    "noperm": {"authorizations": [{**EVERYTHING, "permissions": []}]},
    "pubonly": {"authorizations": [{**EVERYTHING, "permissions": ["publish"]}]},
    "subonly": {"authorizations": [{**EVERYTHING, "permissions": ["subscribe"]}]},
    "onech": {"authorizations": [{**EVERYTHING, "topic": "^ta_", "channels": ["^ch$"]}]},
    "loose": {"authorizations": [{**EVERYTHING, "topic": "oo", "channels": ["h"]}]},
    "badperm": {"authorizations": [{**EVERYTHING, "permissions": ["read"]}]},
    "badregex": {"authorizations": [{**EVERYTHING, "topic": "("}]},
    "ttl0": {"ttl": 0},
    "short": {"ttl": 1},
}
_STATUSES = {"denied": 403, "broken": 500}


@dataclass
class AuthServer:
    """
    A running one.

    Attributes:
        requests: what it was asked and has not been taken by `take_requests`.
        revoked: secrets that are refused from now on.
    """

    scheme: str
    address: str = ""
    requests: list[dict[str, str | None]] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}/auth"

    def take_requests(self) -> list[dict[str, str | None]]:
        """Return what it was asked since the last call."""
        requests, self.requests = self.requests, []
        return requests

    async def answer(self, request: web.BaseRequest) -> web.Response:
        body = (await request.read()).decode()
        noted = {
            "method": request.method,
            "path": request.raw_path,
            "accept": request.headers.get("Accept"),
            "content_type": request.headers.get("Content-Type"),
        }
        self.requests.append({**noted, "body": body} if body else noted)
        secret = json.loads(body)["secret"][0] if body else request.query["secret"]
        if secret in self.revoked or secret in _STATUSES:
            return web.Response(status=_STATUSES.get(secret, 403))
        if secret == "notjson":
            return web.Response(text="hello")
        answer = {
            "ttl": 3600,
            "identity": f"user:{secret}",
            "identity_url": f"http://auth.example/{secret}",
            "authorizations": [EVERYTHING],
        }
        return web.json_response({**answer, **_DIFFERENT.get(secret, {})})


@asynccontextmanager
async def running_auth_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[AuthServer]:
    """Serve on a port of its own until the block ends."""
    auth = AuthServer("http" if tls is None else "https")
    runner = web.ServerRunner(web.Server(auth.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0]
    auth.address = f"{host}:{port}"
    try:
        yield auth
    finally:
        await runner.cleanup()
