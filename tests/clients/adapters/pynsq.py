"""pynsq (tornado) as the suite drives it."""

import asyncio
import json
import ssl
import sys
from typing import Any

import nsq

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
        self._options: dict[str, Any] = {
            "heartbeat_interval": settings.heartbeat_s,
            "msg_timeout": settings.msg_timeout_ms / 1000,
            "snappy": settings.snappy,
            "deflate": settings.deflate,
            "auth_secret": settings.auth_secret,
            "timeout": 10.0,
        }
        if settings.tls_authority is not None:
            self._options["tls_v1"] = True
            self._options["tls_options"] = {
                "cert_reqs": ssl.CERT_REQUIRED,
                "ca_certs": settings.tls_authority,
            }
        self._writer: nsq.Writer | None = None
        self._reader: nsq.Reader | None = None
        self._messages: dict[str, nsq.Message] = {}

    async def do(self, request: dict[str, Any]) -> object:
        topic = self._settings.topic
        match request["do"]:
            case "publish":
                return await self._publish("pub", topic, body_of(request["body"]))
            case "multi_publish":
                bodies = [body_of(body) for body in request["bodies"]]
                return await self._publish("mpub", topic, bodies)
            case "publish_deferred":
                body = body_of(request["body"])
                return await self._publish("dpub", topic, request["delay_ms"], body)
            case "subscribe":
                return self._subscribe()
            case "finish":
                return self._messages.pop(request["id"]).finish()
            case "requeue":
                message = self._messages.pop(request["id"])
                return message.requeue(backoff=False, time_ms=request["delay_ms"])
            case "touch":
                return self._messages[request["id"]].touch()
            case other:
                raise ValueError(other)

    async def _publish(self, method: str, *arguments: Any) -> object:
        if self._writer is None:
            self._writer = nsq.Writer([self._settings.address], **self._options)
        while not self._writer.conns:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        getattr(self._writer, method)(
            *arguments, callback=lambda conn, data: answered.set_result(data)
        )
        return await answered

    def _subscribe(self) -> str:
        self._reader = nsq.Reader(
            self._settings.topic,
            self._settings.channel,
            message_handler=self._on_message,
            nsqd_tcp_addresses=[self._settings.address],
            max_in_flight=self._settings.max_in_flight,
            max_tries=0,
            **self._options,
        )
        return "OK"

    def _on_message(self, message: nsq.Message) -> None:
        message.enable_async()
        self._messages[message.id.decode()] = message
        write_message(message.id, message.attempts, message.body)


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
