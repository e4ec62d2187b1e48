"""Lines into a pipe whose reader is slow, or is not there any more."""

import os
from collections.abc import Iterator

import pytest

from nsqx.runtime.process.line_writer import LineWriter

LINE = b"x" * 99 + b"\n"
BUFFER_BYTES = 1000


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue  # the test has closed it


def read_lines(fd: int, until: bytes) -> list[bytes]:
    """Read until a line that begins so has come."""
    data = b""
    while not any(line.startswith(until) for line in data.split(b"\n")[:-1]):
        data += os.read(fd, 65536)
    return data.splitlines(keepends=True)


def make_writer(fd: int) -> LineWriter:
    writer = LineWriter(
        fd, lambda count: writer.write(b"%d dropped\n" % count), buffer_bytes_max=BUFFER_BYTES
    )
    return writer


def test_a_line_is_there_when_write_returns(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    make_writer(fd).write(LINE)
    assert os.read(reader, 1000) == LINE


def test_whoever_stalls_loses_lines_and_is_told_how_many_and_where(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = make_writer(fd)
    sent = 0
    while writer.dropped < 7:
        writer.write(b"%06d" % sent + LINE[6:])
        sent += 1
    kept = read_lines(reader, b"7 dropped")
    writer.flush(10)
    writer.write(b"later\n")
    assert kept == [*(b"%06d" % number + LINE[6:] for number in range(sent - 7)), b"7 dropped\n"]
    assert os.read(reader, 1000) == b"later\n"
    assert writer.dropped == 7


def test_a_long_line_is_written_in_pieces_and_whole(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = make_writer(fd)
    long = b"y" * 300_000 + b"\n"  # more than the buffer takes: what is begun is finished
    writer.write(long)
    writer.write(b"next\n")
    writer.write(LINE * 10)  # no room
    assert read_lines(reader, b"1 dropped") == [long, b"next\n", b"1 dropped\n"]


def test_a_reader_that_went_away_hurts_nobody(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    os.close(reader)
    make_writer(fd).write(LINE)


def test_a_reader_that_goes_away_while_it_stalls_hurts_nobody(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = make_writer(fd)
    while not writer.dropped:
        writer.write(LINE)
    os.close(reader)
    writer.flush(10)
    writer.write(LINE)
    assert writer.dropped == 1


def test_flush_gives_up_on_a_reader_that_stalls(pipe: tuple[int, int]) -> None:
    _, fd = pipe
    writer = make_writer(fd)
    while not writer.dropped:
        writer.write(LINE)
    writer.flush(0.01)
    assert writer.dropped == 1
