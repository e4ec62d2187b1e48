"""``/api/v2``: documents, by path, by polling, by WebSocket and as server-sent events."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from nsqx.admin.guard.access import Visitor
from nsqx.admin.guard.gate import Gate, V2Error
from nsqx.admin.guard.same_origin import WRITE_HEADER
from nsqx.admin.shown.hub import Hub, UnknownKeyError
from nsqx.admin.shown.live import LiveChannel, LiveLimits, envelopes
from nsqx.admin.shown.tail import Tails
from nsqx.admin.shown.unsent import Unsent
from nsqx.admin.v2.answers import NO_STORE, json_bytes
from nsqx.protocol.version import VERSION
from nsqx.runtime.http.server import Answer, Request

__all__ = ["DocumentEndpoints"]

KEYS_MAX = 64
PIECE_BYTES = 64 * 1024  # of an event, which a connection holds beside what all of them share


class DocumentEndpoints:
    """
    The handlers. ``facts`` are what ``/me`` says about this dashboard rather than the visitor.
    """

    def __init__(
        self,
        hub: Hub,
        tails: Tails,
        gate: Gate,
        facts: dict[str, Any],
        limits: LiveLimits,
    ) -> None:
        self._hub = hub
        self._tails = tails
        self._gate = gate
        self._facts = facts
        self._limits = limits
        self._watching_now = Counter[str]()  # by who it is; the empty name is of proxies
        self._unsent = Unsent()

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
        except UnknownKeyError as exc:
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
            except UnknownKeyError as exc:
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
            self._hub,
            self._tails,
            self.me_of(visitor),
            self._limits,
            self._unsent,
            who=self._who(request, visitor),
            reads_messages=visitor.reads_messages,
        )
        with self._watching(request, visitor):
            return await channel.serve(request, VERSION, float(self._facts["interval"]))

    def _who(self, request: Request, visitor: Visitor) -> str:
        """A user or an address; empty for a proxy that names nobody, which stands for many."""
        return visitor.user or ("" if self._gate.access.is_trusted(request) else request.ip)

    @contextmanager
    def _watching(self, request: Request, visitor: Visitor) -> Iterator[None]:
        """Count who gets documents pushed; V2Error if they are too many."""
        counts, limits = self._watching_now, self._limits
        who = self._who(request, visitor)
        if counts.total() >= limits.watching:
            raise V2Error(503, "TOO_MANY_WATCHERS", f"{limits.watching} watch already")
        if who and counts[who] >= limits.watching_alike:
            raise V2Error(
                503, "TOO_MANY_WATCHERS", f"{limits.watching_alike} watch already as {who}"
            )
        counts[who] += 1
        try:
            yield
        finally:
            counts[who] -= 1
            if not counts[who]:
                del counts[who]

    async def events(self, request: Request, visitor: Visitor) -> Answer:
        key = request.query().get("key", "summary")
        try:
            self._hub.feed(key)
        except UnknownKeyError as exc:
            raise V2Error(404, "UNKNOWN_KEY", str(exc)) from exc
        with self._watching(request, visitor):
            return await self._stream(request, key, self._who(request, visitor))

    async def _stream(self, request: Request, key: str, who: str) -> Answer:
        def give_up() -> None:
            if (transport := request.http.transport) is not None:
                transport.abort()

        headers = {"Content-Type": "text/event-stream", **NO_STORE}
        stream = web.StreamResponse(headers=headers)
        await stream.prepare(request.http)
        try:
            async for envelope in envelopes(self._hub, key, self._limits.heartbeat_s):
                # The envelope is what all viewers of a version share: an event made of it would
                # count, and be held, once for each of them.
                with self._unsent.sending(envelope or b"", who, give_up):
                    async with asyncio.timeout(self._limits.send_s_max):
                        for piece in _event(envelope):
                            await stream.write(piece)
        except (TimeoutError, ConnectionError):  # gone, or deaf
            give_up()
        return stream


def _event(envelope: bytes | None) -> Iterator[bytes]:
    """Yield a server-sent event in pieces; None is a heartbeat."""
    if envelope is None:
        yield b": heartbeat\n\n"
        return
    if len(envelope) <= PIECE_BYTES:
        yield b"data: %b\n\n" % envelope
        return
    yield b"data: "
    for start in range(0, len(envelope), PIECE_BYTES):
        yield envelope[start : start + PIECE_BYTES]
    yield b"\n\n"


def _integer(text: str, name: str) -> int:
    try:
        return max(0, int(text))
    except ValueError:
        raise V2Error(400, f"INVALID_ARG_{name.upper()}", f"{name} is a number") from None
