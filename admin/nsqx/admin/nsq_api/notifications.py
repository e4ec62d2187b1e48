"""
Tells ``--notification-http-endpoint`` of every change: a POST each, one at a time, in order.

It happens in the background; an endpoint that hangs or fails delays only the next notifications,
and costs those that do not fit into the queue.
"""

import asyncio
import json
import socket
import time
from contextlib import suppress
from typing import Self

from nsqx.admin.guard.credentials import decode_basic
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.net.host_port import without_secrets
from nsqx.runtime.http.server import Request
from nsqx.runtime.process import logs

__all__ = ["Notifications"]

WAITING_MAX = 1000

_log = logs.get_logger("NOTIFY")


class Notifications:
    """The endpoint. Without one nothing is sent. Use it as an async context manager."""

    def __init__(self, http: DaemonHttp, endpoint: str) -> None:
        self._http = http
        self._endpoint = endpoint
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MAX)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._endpoint:
            self._task = asyncio.create_task(self._run(), name="notifications")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def tell(
        self, request: Request, action: str, topic: str, channel: str = "", node: str = ""
    ) -> None:
        """Queue a notification about a change that a request has made (nsqadmin section 5)."""
        if not self._endpoint:
            return
        fields = {
            "action": action,
            "topic": topic,
            **({"channel": channel} if channel else {}),
            **({"node": node} if node else {}),
            "timestamp": int(time.time()),
            **({"user": user} if (user := _basic_user(request)) else {}),
            "remote_ip": request.remote,
            "user_agent": request.header("User-Agent"),
            "url": _url(request),
            "via": socket.gethostname(),
        }
        try:
            self._waiting.put_nowait(json.dumps(fields).encode())
        except asyncio.QueueFull:
            endpoint = without_secrets(self._endpoint)
            _log.warning("%s is too slow: a notification is lost", endpoint)

    async def _run(self) -> None:
        while True:
            body = await self._waiting.get()
            try:
                await self._http.notify(self._endpoint, body)
            except DaemonError as exc:
                _log.error("failed to notify: %s", exc)


def _basic_user(request: Request) -> str:
    scheme, _, value = request.header("Authorization").partition(" ")
    return decode_basic(value)[0] if scheme.lower() == "basic" else ""


def _url(request: Request) -> str:
    is_https = request.is_tls or request.header("X-Scheme") == "https"
    scheme = "https" if is_https else "http"
    return f"{scheme}://{request.header('Host')}{request.http.raw_path}"
