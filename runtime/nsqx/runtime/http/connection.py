"""
One HTTP connection: aiohttp's, with what Go's server does and aiohttp's does not.

- A client that ends its direction behind its requests gets its answers; then the connection ends.
- A head has a time and a size. Between requests there is no limit: producers stay for days.
- No more connections than allowed (`Crowd`).
"""

import asyncio
import time
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from nsqx.net.reading_turn import ReadingTurn
from nsqx.runtime.http.crowd import SMALL_HEAD_BYTES, Crowd
from nsqx.runtime.process import open_files

__all__ = ["CONNECTIONS_MAX", "HttpConnection", "HttpLimits", "QuietServer"]

# How often a connection whose client ended its direction is asked whether it is idle. Answers say
# "Connection: close" then, so this is for what was answered in the same moment.
ENDED_S = 1.0
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"431 Request Header Fields Too Large"
)


CONNECTIONS_MAX = 1000  # some 25 KB each; who is idle makes room


class HttpLimits:
    """
    What one connection may take.

    Attributes:
        head_bytes: of one request's head, about.
        head_s: until a head that has begun, or the first one, is complete.
        body_idle_s: without a byte of a body that is being read.
        ended_s: until an answer, once the client has ended its direction; None for no limit.
        connections: in all, if a fifth of the files that may be open allows as many.
    """

    BODY_IDLE_S = 60.0

    def __init__(
        self,
        *,
        head_bytes: int = 1024 * 1024,
        head_s: float = 60.0,
        body_idle_s: float = BODY_IDLE_S,
        ended_s: float | None = None,
        connections: int = CONNECTIONS_MAX,
    ) -> None:
        self.head_bytes = head_bytes
        self.head_s = head_s
        self.body_idle_s = body_idle_s
        self.ended_s = ended_s
        self.connections = min(connections, open_files.limit() // 5)


class QuietServer(web.Server):
    """Makes the connections of one listener."""

    limits: HttpLimits
    crowd: "Crowd[HttpConnection]"
    reading_turn: ReadingTurn

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return HttpConnection(self, loop=self._loop, **self._kwargs)


class HttpConnection(RequestHandler):
    """See above."""

    __slots__ = (
        "_crowd",
        "_ended_at",
        "_head_bytes",
        "_head_timer",
        "_host",
        "_last_body",
        "_limits",
        "_overdue_timer",
        "_reading_turn",
        "_waits_for_turn",
    )

    def __init__(self, manager: QuietServer, **arguments: object) -> None:
        super().__init__(manager, **arguments)  # type: ignore[arg-type]  # as the server got them
        self._limits = manager.limits
        self._crowd = manager.crowd
        self._host = ""
        self._head_bytes = 0  # of a head that is not complete
        self._head_timer: asyncio.TimerHandle | None = None
        self._overdue_timer: asyncio.TimerHandle | None = None
        self._ended_at: float | None = None
        self._last_body: StreamReader | None = None  # of the request that was parsed last
        self._reading_turn = manager.reading_turn
        self._waits_for_turn = False

    @property
    def has_ended(self) -> bool:
        """Return whether the client sends nothing more, and the last request is being answered."""
        return self._ended_at is not None and not self._messages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._host = str(peer[0]) if isinstance(peer, tuple) else ""
        self._start_head_timer()
        self._crowd.enter(self, self._host)

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is being answered."""
        return not self._request_in_progress and not self._messages

    def connection_lost(self, exc: BaseException | None) -> None:
        self._crowd.leave(self, self._host)
        self._end_head()
        if self._overdue_timer is not None:
            self._overdue_timer.cancel()
        super().connection_lost(exc)

    # Heads

    def data_received(self, data: bytes) -> None:
        began_ns = time.monotonic_ns()
        self._read(data)
        if not self._upgraded and self.transport is not None:
            self._reading_turn.spend(self, time.monotonic_ns() - began_ns)

    def wait_for_turn(self) -> None:
        """See `Reader.wait_for_turn`."""
        self._waits_for_turn = True
        if self.transport is not None:
            self.transport.pause_reading()

    def go_on(self) -> None:
        """See `Reader.go_on`."""
        self._waits_for_turn = False
        is_paused = self._reading_paused or getattr(self, "_buffer_paused", False)  # aiohttp 3.14
        if self.transport is not None and not is_paused:
            self.transport.resume_reading()

    def resume_reading(self, *arguments: Any, **options: Any) -> None:
        """A body is read on: not before its turn."""
        super().resume_reading(*arguments, **options)
        if self._waits_for_turn and self.transport is not None:
            self.transport.pause_reading()

    def _read(self, data: bytes) -> None:
        if len(data) > SMALL_HEAD_BYTES and self.is_idle and not self._upgraded:
            # A head that is not complete by then is judged before the parser has more of it.
            self._feed(data[:SMALL_HEAD_BYTES])
            data = data[SMALL_HEAD_BYTES:]
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        count = self._request_count
        super().data_received(data)
        if self._messages:
            self._last_body = self._messages[-1][1]
        if self._request_count != count or self._request_in_progress or self._messages:
            self._end_head()
        elif data and not self._upgraded and not self._force_close and self._is_body_whole:
            self._head_bytes += len(data)
            self._start_head_timer()
            has_room = self._crowd.grow_head(len(data), self._head_bytes)
            if not has_room or self._head_bytes > self._limits.head_bytes:
                self._refuse_head()

    @property
    def _is_body_whole(self) -> bool:
        """Whether what comes is no rest of a body, which is let pass after an early answer."""
        return self._last_body is None or self._last_body.is_eof()

    def _refuse_head(self) -> None:
        if self.transport is not None:
            self.transport.write(_TOO_LARGE)
        self.force_close()

    def _end_head(self) -> None:
        self._crowd.end_head(self._head_bytes)
        self._head_bytes = 0
        self._stop_head_timer()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self._limits.head_s, self.force_close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # The end of the client's direction

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp never stays open
        """Stay open while there is something to answer that is all there."""
        request = self._current_request
        body = self._last_body if request is None else request.content
        is_whole = body is None or body.is_eof()
        if self._upgraded or self._is_all_answered or not is_whole:
            return False
        self._ended_at = self._loop.time()
        self._look_for_end()
        return True

    @property
    def _is_all_answered(self) -> bool:
        """Whether no request is here, nor taken up for a task that has not begun yet."""
        is_between = self._waiter is None
        return not (self._request_in_progress or self._messages or is_between)

    def _look_for_end(self) -> None:
        assert self._ended_at is not None
        limit_s = self._limits.ended_s
        if self._is_all_answered or (
            limit_s is not None and self._loop.time() - self._ended_at >= limit_s
        ):
            self.force_close()
        else:
            self._overdue_timer = self._loop.call_later(ENDED_S, self._look_for_end)
