"""Redis Streams: XADD in pipelines; XREADGROUP, then XACK of all that came and the next."""

import re

from benchmarks.peers.speech import BODY, BODY_BYTES, Answers, Command, Dialogue, Speech, Taker

_COUNT = 500
_HEADER = re.compile(rb"\*1\r\n\*2\r\n\$1\r\ns\r\n\*(\d+)\r\n")
# An entry: its id, as a bulk string, then field and value.
_ENTRY = re.compile(rb"\*2\r\n(\$\d+\r\n\d+-\d+\r\n)\*2\r\n\$1\r\nb\r\n\$%d\r\n" % BODY_BYTES)
_BODY_END = BODY_BYTES + 2
_ENTRY_BYTES_MIN = len(b"*2\r\n$3\r\n0-1\r\n*2\r\n$1\r\nb\r\n$200\r\n") + _BODY_END


def _encode(*arguments: bytes) -> bytes:
    parts = b"".join(b"$%d\r\n%s\r\n" % (len(argument), argument) for argument in arguments)
    return b"*%d\r\n%s" % (len(arguments), parts)


class RedisSpeech(Speech):
    answers = Answers(mark=b"$", end=b"\r\n", failures=(b"-ERR", b"-OOM", b"-MISCONF"))

    def prepare(self, connection: Dialogue, *, memory: bool) -> None:
        connection.ask(_encode(b"XGROUP", b"CREATE", b"s", b"g", b"0", b"MKSTREAM"), b"+OK")

    def command(self, batch: int, index: int) -> Command:
        return Command(_encode(b"XADD", b"s", b"*", b"b", BODY) * batch, batch)

    def taker(self, connection: Dialogue, index: int) -> Taker:
        return _RedisTaker(b"c%d" % index)


class _RedisTaker(Taker):
    def __init__(self, name: bytes) -> None:
        count = b"%d" % _COUNT
        self._more = _encode(
            b"XREADGROUP", b"GROUP", b"g", name, b"COUNT", count, b"STREAMS", b"s", b">"
        )
        self._data = b""

    def start(self) -> bytes:
        return self._more

    def receive(self, data: bytes) -> tuple[int, bytes]:
        self._data += data
        header = _HEADER.search(self._data)
        if header is None:
            return 0, b""  # the answer to XACK alone, or that nothing is left
        count = int(header[1])
        if len(self._data) < header.end() + count * _ENTRY_BYTES_MIN:
            return 0, b""
        entries = list(_ENTRY.finditer(self._data, header.end()))
        if len(entries) < count or len(self._data) < entries[-1].end() + _BODY_END:
            return 0, b""
        self._data = b""
        ids = b"".join([entry[1] for entry in entries])
        return count, b"*%d\r\n$4\r\nXACK\r\n$1\r\ns\r\n$1\r\ng\r\n%s%s" % (
            count + 3,
            ids,
            self._more,
        )

    def farewell(self) -> tuple[bytes, bytes]:
        return b"PING\r\n", b"+PONG"
