"""``/api/v2``: documents, by path, by polling, by WebSocket and as server-sent events."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from nsqx.admin.guard.access import Visitor
from nsqx.admin.guard.gate import Gate, V2Error
from nsqx.admin.guard.same_origin import WRITE_HEADER
from nsqx.admin.shown.hub import Hub, UnknownKey
from nsqx.admin.shown.live import SEND_S_MAX, LiveChannel, envelopes
from nsqx.admin.shown.tail import Tails
from nsqx.admin.v2.answers import NO_STORE, json_bytes
from nsqx.runtime.http.server import Answer, Request
from nsqx.runtime.version import VERSION

__all__ = ["DocumentEndpoints"]

KEYS_MAX = 64
WATCHING_MAX = 500  # each may have some hundred kB in its socket


class DocumentEndpoints:
    """
    The handlers. ``facts`` are what ``/me`` says about this dashboard rather than the visitor.
    """

    def __init__(self, hub: Hub, tails: Tails, gate: Gate, facts: dict[str, Any]) -> None:
        self._hub = hub
        self._tails = tails
        self._gate = gate
        self._facts = facts
        self._watching_now = 0

    def me_of(self, visitor: Visitor) -> dict[str, Any]:
        return {
            "user": visitor.user,
            "role": visitor.role.word,
            "read_only": visitor.read_only,
            "may": visitor.rights,
            "write_header": WRITE_HEADER,
            **self._facts,
        }

    async def me(self, _request: Request, visitor: Visitor) -> Answer:
        return json_bytes(msgspec.json.encode(self.me_of(visitor)))

    # One document

    async def snapshot(self, request: Request, _visitor: Visitor) -> Answer:
        return self._envelope(request, "summary")

    async def topology(self, request: Request, _visitor: Visitor) -> Answer:
        return self._envelope(request, "topology")

    async def registry(self, request: Request, _visitor: Visitor) -> Answer:
        return self._envelope(request, "registry")

    async def settings(self, request: Request, _visitor: Visitor) -> Answer:
        return self._envelope(request, "settings")

    async def topic(self, request: Request, _visitor: Visitor) -> Answer:
        return self._envelope(request, f"topic:{request.parameters['topic']}")

    async def channel(self, request: Request, _visitor: Visitor) -> Answer:
        names = request.parameters
        return self._envelope(request, f"channel:{names['topic']}/{names['channel']}")

    async def node(self, request: Request, _visitor: Visitor) -> Answer:
        return self._envelope(request, f"node:{request.parameters['node']}")

    def _envelope(self, request: Request, key: str) -> web.Response:
        """Answer with what leads from the caller's version to the newest, if one envelope does."""
        query = request.query()
        since = _integer(query.get("since", "0"), "since")
        if query.get("boot") != self._hub.boot:
            since = 0
        try:
            feed = self._hub.feed(key)
        except UnknownKey as exc:
            raise V2Error(404, "UNKNOWN_KEY", str(exc)) from exc
        if not feed.exists:
            kind, _, name = key.partition(":")
            raise V2Error(404, "NOT_FOUND", f"there is no {kind} {name}")
        if not since:
            return json_bytes(feed.full())
        found = feed.since(since)
        match len(found):
            case 0:
                return web.Response(status=204, headers=NO_STORE)
            case 1:
                return json_bytes(found[0])
            case _:
                return json_bytes(feed.full())

    # Several at once

    async def poll(self, request: Request, _visitor: Visitor) -> Answer:
        """The n-th ``have`` behind the n-th ``key``: so they are read in their order."""
        pairs = parse_qsl(request.raw_query, keep_blank_values=True)
        same_boot = ("boot", self._hub.boot) in pairs
        wanted: list[tuple[str, int]] = []
        for name, value in pairs:
            if name == "key":
                wanted.append((value, 0))
            elif name == "have" and wanted and same_boot:
                wanted[-1] = (wanted[-1][0], _integer(value, "have"))
        if not 1 <= len(wanted) <= KEYS_MAX:
            raise V2Error(400, "INVALID_ARG_KEY", f"1 to {KEYS_MAX} keys")
        found: list[bytes] = []
        for key, has in wanted:
            try:
                found += self._hub.feed(key).since(has)
            except UnknownKey as exc:
                raise V2Error(404, "UNKNOWN_KEY", str(exc)) from exc
        head = b'{"t":%b,"boot":%b,"documents":[' % (
            msgspec.json.encode(time.time()),
            msgspec.json.encode(self._hub.boot),
        )
        return json_bytes(b"%b%b]}" % (head, b",".join(found)))

    async def live(self, request: Request, visitor: Visitor) -> Answer:
        if self._gate.is_cross_site(request):
            raise V2Error(403, "CROSS_SITE", "another site has opened this")
        if request.header("Upgrade").lower() != "websocket":
            raise V2Error(400, "NO_WEBSOCKET", "this is the address of a WebSocket")
        channel = LiveChannel(
            self._hub, self._tails, self.me_of(visitor), reads_messages=visitor.reads_messages
        )
        with self._watching():
            return await channel.serve(request, VERSION, float(self._facts["interval"]))

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Count who gets documents pushed; V2Error if they are too many."""
        if self._watching_now >= WATCHING_MAX:
            raise V2Error(503, "TOO_MANY_WATCHERS", f"{WATCHING_MAX} watch already")
        self._watching_now += 1
        try:
            yield
        finally:
            self._watching_now -= 1

    async def events(self, request: Request, _visitor: Visitor) -> Answer:
        key = request.query().get("key", "summary")
        try:
            self._hub.feed(key)
        except UnknownKey as exc:
            raise V2Error(404, "UNKNOWN_KEY", str(exc)) from exc
        with self._watching():
            return await self._stream(request, key)

    async def _stream(self, request: Request, key: str) -> Answer:
        headers = {"Content-Type": "text/event-stream", **NO_STORE}
        stream = web.StreamResponse(headers=headers)
        await stream.prepare(request.http)
        try:
            async for envelope in envelopes(self._hub, key):
                event = b": heartbeat\n\n" if envelope is None else b"data: %b\n\n" % envelope
                async with asyncio.timeout(SEND_S_MAX):
                    await stream.write(event)
        except (TimeoutError, ConnectionError):  # gone, or deaf
            if (transport := request.http.transport) is not None:
                transport.abort()
        return stream


def _integer(text: str, name: str) -> int:
    try:
        return max(0, int(text))
    except ValueError:
        raise V2Error(400, f"INVALID_ARG_{name.upper()}", f"{name} is a number") from None
