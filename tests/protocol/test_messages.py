"""Message frames: exact bytes, then the batch forms against struct, one message at a time."""

import struct

import pytest
from hypothesis import given, strategies as st

from nsqx.protocol.messages import (
    ATTEMPTS_MAX,
    HEADER_BYTES,
    body_of,
    encode_messages,
    frame_offsets,
    id_of,
    ids_to_hex,
    message_id,
    split_frame,
    with_attempts,
)

batches = st.lists(st.binary(min_size=1, max_size=100), min_size=1, max_size=20)
first_ids = st.integers(0, 2**64 - 100)
timestamps_ns = st.integers(0, 2**63 - 1)


def frame_of(body: bytes, id: int, timestamp_ns: int, attempts: int = 1) -> bytes:
    head = struct.pack(">IIqH", len(body) + 30, 2, timestamp_ns, attempts)
    return head + f"{id:016x}".encode() + body


def test_bytes_on_the_wire() -> None:
    frames, offsets = encode_messages([b"hi", b"x"], 0x0123456789ABCDEF, 9)
    assert frames == (
        b"\x00\x00\x00\x20\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x09\x00\x01"
        b"0123456789abcdefhi"
        b"\x00\x00\x00\x1f\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x09\x00\x01"
        b"0123456789abcdf0x"
    )
    assert list(offsets) == [0, 36, 71]


@given(batches, first_ids, timestamps_ns)
def test_a_batch_is_its_messages_one_after_another(
    bodies: list[bytes], first_id: int, timestamp_ns: int
) -> None:
    frames, offsets = encode_messages(bodies, first_id, timestamp_ns)
    expected = [frame_of(body, first_id + index, timestamp_ns) for index, body in enumerate(bodies)]
    assert frames == b"".join(expected)
    assert frame_offsets(frames) == offsets
    cut = [frames[offsets[index] : offsets[index + 1]] for index in range(len(bodies))]
    assert cut == expected


@given(batches, first_ids, timestamps_ns)
def test_a_frame_is_taken_apart(bodies: list[bytes], first_id: int, timestamp_ns: int) -> None:
    frames, offsets = encode_messages(bodies, first_id, timestamp_ns)
    for index, body in enumerate(bodies):
        frame = frames[offsets[index] : offsets[index + 1]]
        assert split_frame(frame) == (timestamp_ns, 1, first_id + index, body)
        assert body_of(memoryview(frame)) == body
        assert id_of(frames, offsets[index]) == first_id + index


@given(batches, st.integers(0, 2000))
def test_offsets_end_before_a_frame_that_is_not_complete(bodies: list[bytes], cut: int) -> None:
    frames, offsets = encode_messages(bodies, 0, 0)
    torn = frames[: cut % (len(frames) + 1)]
    assert list(frame_offsets(torn)) == [offset for offset in offsets if offset <= len(torn)]


def test_offsets_may_begin_anywhere_and_end_at_an_impossible_size() -> None:
    frames, offsets = encode_messages([b"a", b"b", b"c"], 0, 0)
    assert list(frame_offsets(b"junk" + frames, 4)) == [offset + 4 for offset in offsets]
    assert list(frame_offsets(frames, offsets[2])) == list(offsets[2:])
    damaged = frames[: offsets[1]] + struct.pack(">I", 29) + bytes(100)
    assert list(frame_offsets(damaged)) == list(offsets[:2])
    assert list(frame_offsets(b"")) == [0]


@pytest.mark.parametrize(
    ("attempts", "written"), [(1, 1), (2, 2), (65_535, 65_535), (65_536, ATTEMPTS_MAX)]
)
def test_attempts_stop_at_what_the_frame_can_hold(attempts: int, written: int) -> None:
    frame = frame_of(b"body", 5, 7)
    assert with_attempts(frame, attempts) == frame_of(b"body", 5, 7, written)


@given(first_ids, st.integers(0, 20))
def test_ids_are_sixteen_lower_case_digits(first_id: int, count: int) -> None:
    ids = [message_id(first_id + index) for index in range(count)]
    assert all(len(id) == 16 and id == id.lower() for id in ids)
    assert ids_to_hex(first_id, count) == b"".join(ids)


def test_an_id_that_is_no_number_is_told() -> None:
    frame = bytes(18) + b"not-hex-16-bytes"
    assert len(frame) == HEADER_BYTES
    with pytest.raises(ValueError, match="invalid literal"):
        id_of(frame)
