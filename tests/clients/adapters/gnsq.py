"""gnsq (gevent) as the suite drives it."""

import json
import sys
from typing import Any

import gnsq
from gevent.fileobject import FileObjectThread

from tests.clients.adapters.lines import Settings, body_of, write_answer, write_message


class LayeredProducer:
    """
    Publishes over gnsq's connection.

    Its Producer takes the OK of an upgrade for that of a publish it has not made, and fails.
    """

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._connection = gnsq.NsqdTCPClient(settings.host, settings.port, **options)
        self._connection.connect()
        self._connection.identify()

    def publish(self, topic: str, body: bytes, defer: int | None = None) -> object:
        self._connection.publish(topic, body, defer=defer)
        return self._answer()

    def multipublish(self, topic: str, bodies: list[bytes]) -> object:
        self._connection.multipublish(topic, bodies)
        return self._answer()

    def _answer(self) -> object:
        while (answer := self._connection.read_response()[1]) == b"_heartbeat_":
            pass
        return answer


class Adapter:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options: dict[str, Any] = {
            "heartbeat_interval": settings.heartbeat_s,
            "snappy": settings.snappy,
            "deflate": settings.deflate,
            "auth_secret": settings.auth_secret and settings.auth_secret.encode(),
        }
        if settings.tls_authority is not None:
            self._options["tls_v1"] = True
            self._options["tls_options"] = {"ca_certs": settings.tls_authority}
        self._producer: gnsq.Producer | LayeredProducer | None = None
        self._consumer: gnsq.Consumer | None = None
        self._messages: dict[str, gnsq.Message] = {}

    def do(self, request: dict[str, Any]) -> object:
        topic = self._settings.topic
        match request["do"]:
            case "publish":
                return self._get_producer().publish(topic, body_of(request["body"]))
            case "multi_publish":
                bodies = [body_of(body) for body in request["bodies"]]
                return self._get_producer().multipublish(topic, bodies)
            case "publish_deferred":
                body, delay_ms = body_of(request["body"]), request["delay_ms"]
                return self._get_producer().publish(topic, body, defer=delay_ms)
            case "subscribe":
                return self._subscribe()
            case "finish":
                return self._messages.pop(request["id"]).finish()
            case "requeue":
                return self._messages.pop(request["id"]).requeue(request["delay_ms"], backoff=False)
            case "touch":
                return self._messages[request["id"]].touch()
            case other:
                raise ValueError(other)

    def _get_producer(self) -> "gnsq.Producer | LayeredProducer":
        if self._producer is None:
            if self._settings.has_layers:
                self._producer = LayeredProducer(self._settings, self._options)
            else:
                producer = gnsq.Producer([self._settings.address], **self._options)
                producer.start()
                self._producer = producer
        return self._producer

    def _subscribe(self) -> str:
        settings = self._settings
        self._consumer = gnsq.Consumer(
            settings.topic,
            settings.channel,
            [settings.address],
            max_in_flight=settings.max_in_flight,
            max_tries=0,
            **self._options,
        )
        self._consumer.on_message.connect(self._on_message)
        self._consumer.start(block=False)
        return "OK"

    def _on_message(self, consumer: gnsq.Consumer, message: gnsq.Message) -> None:
        message.enable_async()
        self._messages[message.id.decode()] = message
        write_message(message.id, message.attempts, message.body)


def main() -> None:
    adapter = Adapter(Settings.of_command_line())
    for line in FileObjectThread(sys.stdin.buffer):
        try:
            write_answer(adapter.do(json.loads(line)) or "OK")
        except Exception as error:
            write_answer(repr(error))


main()
