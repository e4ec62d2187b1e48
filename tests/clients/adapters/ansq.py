"""ansq (asyncio) as the suite drives it."""

import asyncio
import json
import sys
from typing import Any

from ansq.tcp.connection import NSQConnection
from ansq.tcp.types import ConnectionFeatures, ConnectionOptions, NSQMessage
from ansq.typedefs import TCPResponse

from tests.clients.adapters.lines import (
    LINE_BYTES_MAX,
    Settings,
    body_of,
    write_answer,
    write_message,
)


class Adapter:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: NSQConnection | None = None
        self._consumer: NSQConnection | None = None
        self._messages: dict[str, NSQMessage] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def do(self, request: dict[str, Any]) -> object:
        topic = self._settings.topic
        match request["do"]:
            case "publish":
                producer = await self._get_producer()
                return _text(await producer.pub(topic, body_of(request["body"])))
            case "multi_publish":
                producer = await self._get_producer()
                bodies = [body_of(body) for body in request["bodies"]]
                return _text(await producer.mpub(topic, *bodies))
            case "publish_deferred":
                producer = await self._get_producer()
                body, delay_ms = body_of(request["body"]), request["delay_ms"]
                return _text(await producer.dpub(topic, body, delay_ms))
            case "subscribe":
                return await self._subscribe()
            case "finish":
                return await self._messages.pop(request["id"]).fin()
            case "requeue":
                return await self._messages.pop(request["id"]).req(request["delay_ms"])
            case "touch":
                return await self._messages[request["id"]].touch()
            case other:
                raise ValueError(other)

    async def _get_producer(self) -> NSQConnection:
        if self._producer is None:
            self._producer = await self._connect()
        return self._producer

    async def _connect(self) -> NSQConnection:
        settings = self._settings
        features = ConnectionFeatures(
            heartbeat_interval=settings.heartbeat_s * 1000, msg_timeout=settings.msg_timeout_ms
        )
        options = ConnectionOptions(features=features, auto_reconnect=False)
        connection = NSQConnection(settings.host, settings.port, connection_options=options)
        await connection.connect()
        await connection.identify()
        if settings.auth_secret is not None:
            await connection.auth(settings.auth_secret)
            connection._is_authorized = True  # it never learns that by itself
        return connection

    async def _subscribe(self) -> str:
        self._consumer = await self._connect()
        settings = self._settings
        await self._consumer.subscribe(
            settings.topic, settings.channel, messages_count=settings.max_in_flight
        )
        self._tasks.add(asyncio.create_task(self._receive(self._consumer)))
        return "OK"

    async def _receive(self, consumer: NSQConnection) -> None:
        async for message in consumer.messages():
            self._messages[message.id] = message
            write_message(message.id, message.attempts, message.body)


def _text(response: TCPResponse) -> object:
    return response.body if response is not None else None


async def main() -> None:
    adapter = Adapter(Settings.of_command_line())
    requests = asyncio.StreamReader(LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(requests), sys.stdin
    )
    async for line in requests:
        try:
            write_answer(await adapter.do(json.loads(line)) or "OK")
        except Exception as error:
            write_answer(repr(error))


asyncio.run(main())
