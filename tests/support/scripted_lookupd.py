"""
An nsqlookupd that notes what nsqd says and asks, and answers as it is told to.

    async with ScriptedLookupd() as lookupd:
        ... start an nsqd with lookupd.tcp_address ...
        await lookupd.heard("REGISTER orders\n")

What it hears is kept as the golden transcripts show it: ``{"magic": "  V1"}``,
``{"command": "IDENTIFY\n", "body": {...}, "key_order": [...]}``, ``{"command": "PING\n"}`` and
``{"closed_by_nsqd": True}``.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from aiohttp import web

from nsqx.protocol.lookup import OK_ANSWER, DirectoryInfo, encode_answer

__all__ = ["Heard", "ScriptedLookupd"]

PATIENCE_S = 10.0

Heard = dict[str, Any]


class ScriptedLookupd:
    """
    Listens on ports of its own, until ``close``.

    Attributes:
        heard_all: what came, in order, over all connections.
        queries: HTTP requests, as golden transcripts show them.
        channels: what ``/channels`` answers, by topic.
        answer: returns the answer to a command line, or None for none; may be replaced.
        is_answering_http: while it is cleared, ``/channels`` is not answered.
        http_answer: answers ``/channels`` instead, if it is set.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.heard_all: list[Heard] = []
        self.queries: list[dict[str, str]] = []
        self.channels: dict[str, list[str]] = {}
        self.answer: Callable[[str], bytes | None] = self.introduce
        self.is_answering_http = asyncio.Event()
        self.is_answering_http.set()
        self.http_answer: Callable[[web.Request], web.Response] | None = None
        self.tcp_port = self.http_port = 0
        self._connections: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._runner = web.AppRunner(self._http_app(), shutdown_timeout=0)
        self._changed = asyncio.Condition()

    @property
    def tcp_address(self) -> str:
        return f"{self.host}:{self.tcp_port}"

    @property
    def is_connected(self) -> bool:
        return bool(self._connections)

    def introduce(self, line: str) -> bytes | None:
        """The answers of an nsqlookupd that is well."""
        if line != "IDENTIFY\n":
            return OK_ANSWER
        info = DirectoryInfo(self.host, "scripted", self.http_port, self.tcp_port, "1.3.0")
        return encode_answer(info.encode())

    # Running

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, 0).start()
        self.http_port = self._runner.addresses[0][1]
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.stop_listening()
        self.is_answering_http.set()
        await self._runner.cleanup()

    async def listen(self) -> None:
        """Accept nsqds, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, self.host, self.tcp_port)
        self.tcp_port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Accept no nsqds any more, and drop those that are connected."""
        if self._server is not None:
            self._server.close()
            self.drop()
            await self._server.wait_closed()
            self._server = None

    def drop(self) -> None:
        """Break all connections."""
        for writer in list(self._connections):
            writer.transport.abort()
        self._connections.clear()

    # What came

    async def heard(self, command: str, count: int = 1) -> None:
        """Wait until a command came ``count`` times in all."""
        await self.until(
            lambda: sum(each.get("command") == command for each in self.heard_all) >= count,
            f"{command!r} came {count} times",
        )

    async def until(self, check: Callable[[], bool], what: str) -> None:
        """Wait until something is true of what came."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._changed:
                await self._changed.wait_for(check)
        except TimeoutError:
            heard = [*self.heard_all, *self.queries]
            raise AssertionError(f"never: {what}; heard {heard}") from None

    def commands(self) -> list[str]:
        """Return all command lines, without line ends."""
        return [each["command"].rstrip("\n") for each in self.heard_all if "command" in each]

    async def _note(self, heard: Heard) -> None:
        async with self._changed:
            self.heard_all.append(heard)
            self._changed.notify_all()

    # TCP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self._note({"magic": (await reader.readexactly(4)).decode()})
            while line := (await reader.readline()).decode():
                await self._note(await _command(line, reader))
                answer = self.answer(line)
                if answer is not None:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if writer in self._connections:  # we did not do it
                self._connections.discard(writer)
                await self._note({"closed_by_nsqd": True})
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    # HTTP

    def _http_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/channels", self._answer_channels)
        return app

    async def _answer_channels(self, request: web.Request) -> web.Response:
        query = {
            "method": request.method,
            "path": request.path_qs,
            "accept": request.headers.get("Accept", ""),
        }
        async with self._changed:
            self.queries.append(query)
            self._changed.notify_all()
        await self.is_answering_http.wait()
        if self.http_answer is not None:
            return self.http_answer(request)
        return web.json_response({"channels": self.channels.get(request.query["topic"], [])})


async def _command(line: str, reader: asyncio.StreamReader) -> Heard:
    if line != "IDENTIFY\n":
        return {"command": line}
    size = int.from_bytes(await reader.readexactly(4), "big")
    body = json.loads(await reader.readexactly(size))
    return {"command": line, "body": body, "key_order": list(body)}
