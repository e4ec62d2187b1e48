"""
The WebSocket of one browser tab (docs/admin-api.md): subscriptions in, versions of documents out.

The sender sends what is newest whenever the socket takes it. A client that reads slowly is behind
when its turn comes, gets one full document instead of the deltas it missed, and holds up nobody.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from nsqx.admin.shown.deliveries import Deliveries
from nsqx.admin.shown.hub import Hub, UnknownKeyError, Watcher
from nsqx.admin.shown.tail import Tail, TailKey, Tails
from nsqx.admin.shown.unsent import Unsent
from nsqx.runtime.http.server import Request

__all__ = ["LiveChannel", "LiveLimits", "envelopes"]

KEYS_MAX = 64
ANSWERS_MAX = 256  # that wait: who asks more and reads nothing is no page of ours
ECHO_MAX = 300  # of what it sent
FRAME_BYTES_MAX = 64 * 1024

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """
    Of connections that get documents pushed.

    Attributes:
        heartbeat_s: a page says that it is not live any more when some are missing.
        send_s_max: who takes nothing for that long is gone.
        watching: at once; each may have some hundred kB in its socket.
        watching_alike: at once by one user, or from one address if it is nobody in particular.
    """

    heartbeat_s: float = 2.0
    send_s_max: float = 30.0
    watching: int = 500
    watching_alike: int = 100


class _Wish(msgspec.Struct):
    """What a page sends."""

    sub: list[str] = []
    have: dict[str, int] = {}
    boot: str = ""
    unsub: list[str] = []
    resync: list[str] = []
    pause: bool | None = None
    ping: int | None = None


class LiveChannel:
    """
    One connection.

    Args:
        hub: where documents come from.
        tails: where messages come from.
        me: what ``hello`` says about the visitor.
        unsent: counts what is on its way to all of them.
        who: the visitor, as it is counted there.
        reads_messages: whether tails are allowed.
    """

    def __init__(
        self,
        hub: Hub,
        tails: Tails,
        me: dict[str, Any],
        limits: LiveLimits,
        unsent: Unsent,
        *,
        who: str,
        reads_messages: bool,
    ) -> None:
        self._hub = hub
        self._tails = tails
        self._me = me
        self._limits = limits
        self._unsent, self._who = unsent, who
        self._reads_messages = reads_messages
        self._watcher = Watcher()
        self._deliveries = Deliveries(hub.feed)
        self._open_tails: dict[str, Tail] = {}
        self._answers: list[bytes] = []  # to what it asked
        self._is_paused = False
        self._socket = web.WebSocketResponse(max_msg_size=FRAME_BYTES_MAX, compress=False)

    async def serve(self, request: Request, version: str, interval_s: float) -> web.StreamResponse:
        """Run until either side ends it."""
        await self._socket.prepare(request.http)
        hello = {
            "k": "hello",
            "boot": self._hub.boot,
            "version": version,
            "me": self._me,
            "interval": interval_s,
        }
        self._answers.append(_encode(hello))
        self._hub.subscribe(self._watcher)
        self._watcher.changed.set()
        sender = asyncio.create_task(self._send_until_gone(request), name="live sender")
        try:
            async for frame in self._socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    await self._take(frame.data)
                if len(self._answers) >= ANSWERS_MAX:
                    break
        finally:
            self._hub.unsubscribe(self._watcher)
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender
            for tail in self._open_tails.values():
                await tail.close()
        return self._socket

    # What the page wants

    async def _take(self, text: str) -> None:
        try:
            wish = msgspec.json.decode(text, type=_Wish)
        except msgspec.DecodeError as exc:
            self._answer_error("INVALID_BODY", str(exc), "")
            return
        known = wish.have if wish.boot == self._hub.boot else {}
        for key in wish.unsub:
            await self._unsubscribe(key)
        for key in wish.sub[:ANSWERS_MAX]:
            self._subscribe(key, known.get(key, 0))
        for key in wish.resync:
            self._deliveries.forget(key)
        if wish.pause is not None:
            self._pause(wish.pause)
        if wish.ping is not None:
            pong = {"k": "pong", "ping": wish.ping, "t": time.time()}
            self._answers.append(_encode(pong))
        self._watcher.changed.set()

    def _subscribe(self, key: str, has: int) -> None:
        if len(self._deliveries) + len(self._open_tails) >= KEYS_MAX:
            self._answer_error("TOO_MANY_KEYS", f"at most {KEYS_MAX} keys", key)
            return
        if key.startswith("tail:"):
            self._open_tail(key)
            return
        try:
            self._hub.feed(key)
        except UnknownKeyError as exc:
            self._answer_error("UNKNOWN_KEY", str(exc), key)
            return
        self._deliveries.add(key, has)
        self._watcher.keys = self._deliveries.keys

    def _open_tail(self, key: str) -> None:
        if not self._reads_messages:
            self._answer_error("FORBIDDEN", "you may not read messages", key)
            return
        try:
            if key not in self._open_tails:
                wanted = TailKey.parse(key)
                self._open_tails[key] = self._tails.open(wanted, self._watcher.changed.set)
        except ValueError as exc:
            self._answer_error("UNKNOWN_KEY", str(exc), key)

    async def _unsubscribe(self, key: str) -> None:
        self._deliveries.remove(key)
        self._watcher.keys = self._deliveries.keys
        if (tail := self._open_tails.pop(key, None)) is not None:
            await tail.close()

    def _pause(self, paused: bool) -> None:
        if self._is_paused and not paused:
            self._deliveries.forget_all()
        self._is_paused = paused
        # Nobody has to make documents for a hidden tab.
        self._watcher.keys = set() if paused else self._deliveries.keys

    def _answer_error(self, code: str, detail: str, key: str) -> None:
        error = {"k": "error", "message": code, "detail": detail[:ECHO_MAX], "key": key[:ECHO_MAX]}
        self._answers.append(_encode(error))
        self._watcher.changed.set()

    # What it gets

    async def _send_until_gone(self, request: Request) -> None:
        """Nobody makes documents for who is gone, or has not read for so long that he might be."""

        def give_up() -> None:
            if (transport := request.http.transport) is not None:
                transport.abort()  # ends the reading, too

        try:
            await self._send_all(give_up)
        except (TimeoutError, ConnectionError):
            give_up()

    async def _send_all(self, give_up: Callable[[], None]) -> None:
        """Send whatever is new; a heartbeat when there was nothing for a while."""
        sent_at, heartbeat_s = time.monotonic(), self._limits.heartbeat_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, sent_at + heartbeat_s - time.monotonic())):
                    await self._watcher.changed.wait()
            self._watcher.changed.clear()
            if self._hub.is_closing:
                await self._socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
                return
            frames = self._new_frames()
            if not frames and time.monotonic() - sent_at >= heartbeat_s:
                frames = [_encode({"k": "heartbeat", "t": time.time()})]
            for frame in frames:
                with self._unsent.sending(frame, self._who, give_up):
                    async with asyncio.timeout(self._limits.send_s_max):
                        await self._socket.send_frame(frame, aiohttp.WSMsgType.TEXT)
                sent_at = time.monotonic()

    def _new_frames(self) -> list[bytes]:
        frames, self._answers = self._answers, []
        if self._is_paused:
            return frames
        frames += self._deliveries.next()
        for key, tail in self._open_tails.items():
            if (page := tail.take()) is not None:
                frames.append(_encode({"k": key, **page}))
        return frames


async def envelopes(hub: Hub, key: str, heartbeat_s: float) -> AsyncIterator[bytes | None]:
    """
    Yield the versions of one document, until the hub closes: for server-sent events.

    None: there was nothing new for ``heartbeat_s``.

    Raises:
        UnknownKeyError: there can be no such document.
    """
    watcher = Watcher([key])
    hub.subscribe(watcher)
    try:
        sent, sent_at = 0, time.monotonic()
        while not hub.is_closing:
            feed = hub.feed(key)
            for envelope in feed.since(sent):
                yield envelope
                sent_at = time.monotonic()
            sent = feed.seq
            if time.monotonic() - sent_at >= heartbeat_s:
                yield None
                sent_at = time.monotonic()
            await watcher.changed.wait()  # at each tick
            watcher.changed.clear()
    finally:
        hub.unsubscribe(watcher)
