"""NSQ: ours, and Go's nsqd. MPUB has one answer for a batch."""

from benchmarks.peers.speech import BODY, BODY_BYTES, Answers, Command, Dialogue, Speech, Taker
from benchmarks.wire import (
    BODY_OFFSET,
    MAGIC,
    OK_FRAME,
    BrokerError,
    FinRun,
    identify,
    message_header,
    mpub,
    pub,
    rdy,
    sub,
)

_READY_COUNT = 2500  # nsqd's largest
_HEADER = message_header(BODY_BYTES)
_STRIDE = BODY_OFFSET + BODY_BYTES


class NsqSpeech(Speech):
    """``topic`` may be ephemeral: it is then in memory."""

    answers = Answers(mark=OK_FRAME, end=b"OK", failures=(b"E_",))

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def greet(self, connection: Dialogue, index: int) -> None:
        connection.ask(MAGIC + identify(tls=False, snappy=False), b"max_rdy_count")

    def command(self, batch: int, index: int) -> Command:
        if batch == 1:
            return Command(pub(self._topic, BODY), 1)
        return Command(mpub(self._topic, [BODY] * batch), 1)

    def taker(self, connection: Dialogue, index: int) -> Taker:
        connection.ask(sub(self._topic, "c"), OK_FRAME)
        return _NsqTaker()


class _NsqTaker(Taker):
    def __init__(self) -> None:
        self._rest = b""
        self._fins = FinRun(_STRIDE, 1 << 14)

    def start(self) -> bytes:
        return rdy(_READY_COUNT)

    def receive(self, data: bytes) -> tuple[int, bytes]:
        frames = bytearray(self._rest + data)
        count = len(frames) // _STRIDE
        if not count:
            self._rest = bytes(frames)
            return 0, b""
        # Any other frame between the first and the last would shift the last from its place.
        for start in (0, (count - 1) * _STRIDE):
            if not frames.startswith(_HEADER, start):
                raise BrokerError(f"not a message of ours: {bytes(frames[start : start + 60])!r}")
        self._rest = bytes(frames[count * _STRIDE :])
        return count, bytes(self._fins.build(frames, count))

    def farewell(self) -> tuple[bytes, bytes]:
        return b"CLS\n", b"CLOSE_WAIT"
