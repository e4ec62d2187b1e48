"""Lines out of bytes, however those are cut."""

import asyncio
import os
import threading

import pytest
from hypothesis import given, strategies as st

from nsqx.apps.lines import LineSplitter, LineTooLongError, read_chunk


def split(*chunks: bytes) -> list[bytes]:
    splitter = LineSplitter()
    return [line for chunk in chunks for line in splitter.receive(chunk)] + splitter.receive_end()


def test_the_last_line_needs_no_line_feed() -> None:
    assert split(b"a\nb") == [b"a", b"b"]


def test_a_line_may_come_in_pieces() -> None:
    assert split(b"a", b"b", b"c\nd", b"\n") == [b"abc", b"d"]


def test_a_carriage_return_stays() -> None:
    assert split(b"a\r\n") == [b"a\r"]


def test_empty_lines_are_dropped_and_counted() -> None:
    splitter = LineSplitter()
    assert splitter.receive(b"\n\na\n\n") == [b"a"]
    assert splitter.empty == 3


def test_a_line_that_never_ends_is_refused() -> None:
    splitter = LineSplitter(line_bytes_max=10)
    splitter.receive(b"x" * 10)
    with pytest.raises(LineTooLongError):
        splitter.receive(b"x")


@given(st.lists(st.binary(max_size=5) | st.just(b"\n"), max_size=20))
def test_the_lines_do_not_depend_on_how_the_stream_is_cut(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert split(*chunks) == [line for line in whole.split(b"\n") if line]


async def test_reading_gives_what_there_is_and_nothing_at_the_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"some")
    assert await read_chunk(reader) == b"some"
    os.close(writer)
    assert await read_chunk(reader) == b""
    os.close(reader)


async def test_a_failed_read_is_an_error() -> None:
    descriptor = os.open(".", os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        await read_chunk(descriptor)
    os.close(descriptor)


def test_a_read_that_waits_does_not_keep_the_program() -> None:
    reader, writer = os.pipe()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await read_chunk(reader)

    asyncio.run(give_up())
    waiting = [thread for thread in threading.enumerate() if thread.name == "nsqx blocking"]
    assert all(thread.daemon for thread in waiting)
    os.close(writer)  # ends the thread's read, after its loop is closed
    for thread in waiting:
        thread.join()
    os.close(reader)
