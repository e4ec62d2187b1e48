"""beanstalkd: put, reserve and delete, each pipelined as far as the others' batches are."""

import re

from benchmarks.peers.speech import BODY, BODY_BYTES, Answers, Command, Dialogue, Speech, Taker

_RESERVES = 200  # open on each connection
_RESERVED = re.compile(rb"RESERVED (\d+) %d\r\n" % BODY_BYTES)
_BODY_END = BODY_BYTES + 2
_RESERVE = b"reserve-with-timeout 0\r\n"


class BeanstalkdSpeech(Speech):
    answers = Answers(mark=b"INSERTED", end=b"\r\n", failures=(b"_", b"BURIED", b"DRAINING"))

    def command(self, batch: int, index: int) -> Command:
        return Command(b"put 0 0 60 %d\r\n%s\r\n" % (BODY_BYTES, BODY) * batch, batch)

    def taker(self, connection: Dialogue, index: int) -> Taker:
        return _BeanstalkdTaker()


class _BeanstalkdTaker(Taker):
    def __init__(self) -> None:
        self._rest = b""

    def start(self) -> bytes:
        return _RESERVE * _RESERVES

    def receive(self, data: bytes) -> tuple[int, bytes]:
        data = self._rest + data
        found = list(_RESERVED.finditer(data))
        if found and found[-1].end() + _BODY_END > len(data):
            end = found.pop().start()  # its body is not whole yet
        else:
            end = found[-1].end() + _BODY_END if found else 0
        self._rest = data[end:]
        return len(found), b"".join([b"delete %s\r\n%s" % (job[1], _RESERVE) for job in found])

    def farewell(self) -> tuple[bytes, bytes]:
        # Answered in order, so after all deletes.
        return b"stats-job 0\r\n", b"NOT_FOUND\r\n"
