"""NATS JetStream: publishes with an ack each; a pull consumer that acks each message."""

import json
import re

from benchmarks.peers.speech import BODY, BODY_BYTES, Answers, Command, Dialogue, Speech, Taker

_PULLED = 1000  # messages asked for at once; two such requests are open on each connection
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"name":"benchmark"}\r\n'
# The subject to which a message is acknowledged is its reply subject.
_MESSAGE = re.compile(rb"MSG \S+ \d+ (\$JS\.ACK\.\S+) %d\r\n" % BODY_BYTES)
_BODY_END = BODY_BYTES + 2


class NatsSpeech(Speech):
    answers = Answers(mark=b'"seq":', end=b"}\r\n", failures=(b'"error"', b"-ERR"))

    def prepare(self, connection: Dialogue, *, memory: bool) -> None:
        connection.ask(_CONNECT + b"SUB r 1\r\nPING\r\n", b"PONG")
        stream = {
            "name": "S",
            "subjects": ["s"],
            "retention": "limits",
            "storage": "memory" if memory else "file",
            "num_replicas": 1,
        }
        _request(connection, b"$JS.API.STREAM.CREATE.S", stream)
        consumer = {
            "stream_name": "S",
            "config": {"durable_name": "c", "ack_policy": "explicit", "max_ack_pending": 100_000},
        }
        _request(connection, b"$JS.API.CONSUMER.DURABLE.CREATE.S.c", consumer)

    def greet(self, connection: Dialogue, index: int) -> None:
        connection.ask(_CONNECT + b"SUB i%d 1\r\nPING\r\n" % index, b"PONG")

    def command(self, batch: int, index: int) -> Command:
        return Command(b"PUB s i%d %d\r\n%s\r\n" % (index, BODY_BYTES, BODY) * batch, batch)

    def taker(self, connection: Dialogue, index: int) -> Taker:
        return _NatsTaker(index)


def _request(connection: Dialogue, subject: bytes, request: object) -> None:
    body = json.dumps(request).encode()
    connection.ask(b"PUB %s r %d\r\n%s\r\n" % (subject, len(body), body), b'"created"')


class _NatsTaker(Taker):
    def __init__(self, index: int) -> None:
        body = b'{"batch":%d}' % _PULLED
        subject = b"$JS.API.CONSUMER.MSG.NEXT.S.c"
        self._pull = b"PUB %s i%d %d\r\n%s\r\n" % (subject, index, len(body), body)
        self._rest = b""
        self._since_pull = 0

    def start(self) -> bytes:
        return self._pull * 2

    def receive(self, data: bytes) -> tuple[int, bytes]:
        data = self._rest + data
        found = list(_MESSAGE.finditer(data))
        if found and found[-1].end() + _BODY_END > len(data):
            end = found.pop().start()  # its body is not whole yet
        else:
            end = found[-1].end() + _BODY_END if found else 0
        self._rest = data[end:]
        if not found:
            return 0, b""
        acks = b" 0\r\n\r\nPUB ".join([message[1] for message in found])
        output = b"PUB %s 0\r\n\r\n" % acks
        self._since_pull += len(found)
        if self._since_pull >= _PULLED:
            self._since_pull -= _PULLED
            output += self._pull
        return len(found), output

    def farewell(self) -> tuple[bytes, bytes]:
        return b"PING\r\n", b"PONG"
