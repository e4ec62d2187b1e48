"""Both forms of a multi-publish body: what is taken, and what spoils all of it."""

import struct

import pytest
from hypothesis import given, strategies as st

from nsqx.nsqd.http.mpub import BadMultiPublishError, split_binary, split_lines

BODY_BYTES_MAX = 4096


def binary(*messages: bytes) -> bytes:
    parts = [struct.pack(">I", len(message)) + message for message in messages]
    return struct.pack(">I", len(messages)) + b"".join(parts)


def code_of(body: bytes, message_bytes_max: int = 10) -> str:
    with pytest.raises(BadMultiPublishError) as error:
        split_binary(body, message_bytes_max, BODY_BYTES_MAX)
    return error.value.code


def test_lines_end_with_or_without_a_newline() -> None:
    assert split_lines(b"one\ntwo\n", 10) == split_lines(b"one\ntwo", 10) == [b"one", b"two"]


def test_empty_lines_are_skipped_and_carriage_returns_stay() -> None:
    assert split_lines(b"\n\none\r\n\n\r\n", 10) == [b"one\r", b"\r"]


def test_no_line_at_all_is_no_message() -> None:
    assert split_lines(b"", 10) == split_lines(b"\n\n", 10) == []


def test_a_line_may_be_as_long_as_a_message() -> None:
    assert split_lines(b"x" * 10, 10) == [b"x" * 10]
    with pytest.raises(BadMultiPublishError, match="MSG_TOO_BIG"):
        split_lines(b"ok\n" + b"x" * 11, 10)


@given(st.lists(st.binary(min_size=1, max_size=10), min_size=1, max_size=50), st.binary())
def test_binary_gives_the_messages_and_ignores_what_follows(
    messages: list[bytes], rest: bytes
) -> None:
    assert split_binary(binary(*messages) + rest, 10, BODY_BYTES_MAX) == messages


@given(st.lists(st.binary(min_size=1, max_size=10), min_size=1, max_size=5), st.data())
def test_a_body_that_is_cut_anywhere_gives_nothing(
    messages: list[bytes], data: st.DataObject
) -> None:
    body = binary(*messages)
    cut = data.draw(st.integers(0, len(body) - 1))
    assert code_of(body[:cut]) == ("BAD_BODY" if cut < 4 else "BAD_MESSAGE")


def test_counts_that_no_body_can_have() -> None:
    most = (BODY_BYTES_MAX - 4) // 5
    assert code_of(binary()) == "BAD_BODY"
    assert code_of(b"\xff\xff\xff\xff") == "BAD_BODY"
    assert code_of(struct.pack(">I", most + 1) + b"x" * 100) == "BAD_BODY"
    assert code_of(struct.pack(">I", most) + b"\0\0\0\1x") == "BAD_MESSAGE"


def test_sizes_that_no_message_can_have() -> None:
    assert code_of(binary(b"ok", b"")) == "BAD_MESSAGE"
    assert code_of(binary(b"ok", b"x" * 11)) == "BAD_MESSAGE"


@given(st.lists(st.integers(0, 40_000), max_size=20))
def test_long_bodies_are_split_as_short_ones_are(lengths: list[int]) -> None:
    lines = [b"x" * length for length in lengths]
    assert split_lines(b"\n".join(lines), 40_000) == [line for line in lines if line]
