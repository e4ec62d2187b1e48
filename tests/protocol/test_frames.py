"""Frames, exact bytes first; then a client's parser against a server's encoders."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from nsqx.protocol.errors import FrameError
from nsqx.protocol.frames import (
    CLOSE_WAIT_FRAME,
    HEARTBEAT_FRAME,
    OK_FRAME,
    ErrorFrame,
    FrameParser,
    FrameType,
    Message,
    Response,
    encode_error,
    encode_frame,
    encode_response,
)
from nsqx.protocol.messages import encode_messages, message_id

Frame = Response | ErrorFrame | Message


def parse(*pieces: bytes) -> list[Frame]:
    parser = FrameParser[Message]()
    frames = [frame for piece in pieces for frame in parser.receive_data(piece)]
    assert parser.error is None
    return frames


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    edges = [0, *sorted(position % (len(data) + 1) for position in positions), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def test_bytes_on_the_wire() -> None:
    assert OK_FRAME == b"\x00\x00\x00\x06\x00\x00\x00\x00OK"
    assert HEARTBEAT_FRAME == b"\x00\x00\x00\x0f\x00\x00\x00\x00_heartbeat_"
    assert CLOSE_WAIT_FRAME == b"\x00\x00\x00\x0e\x00\x00\x00\x00CLOSE_WAIT"
    assert encode_error(b"E_X") == b"\x00\x00\x00\x07\x00\x00\x00\x01E_X"
    assert encode_frame(FrameType.MESSAGE, b"") == b"\x00\x00\x00\x04\x00\x00\x00\x02"


def test_a_message_is_taken_apart() -> None:
    frame = (
        b"\x00\x00\x00\x20\x00\x00\x00\x02"
        b"\x00\x00\x00\x00\x00\x00\x00\x09\x00\x030123456789abcdefhi"
    )
    assert parse(frame) == [Message(9, 3, b"0123456789abcdef", b"hi")]


def test_a_client_may_bring_its_own_message_class() -> None:
    parser = FrameParser(lambda timestamp_ns, attempts, id, body: (id, body))
    frames, _ = encode_messages([b"a"], 1, 0)
    assert parser.receive_data(frames) == [(b"0000000000000001", b"a")]


def test_error_frames_tell_whether_the_connection_ends() -> None:
    fatal = ErrorFrame(b"E_BAD_TOPIC PUB topic name")
    harmless = ErrorFrame(b"E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight")
    assert (fatal.code, fatal.is_fatal) == ("E_BAD_TOPIC", True)
    assert (harmless.code, harmless.is_fatal) == ("E_FIN_FAILED", False)
    assert ErrorFrame(b"E_BAD_PROTOCOL").code == "E_BAD_PROTOCOL"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"\x00\x00\x00\x06\x00\x00\x00\x03", "unknown frame type 3"),
        (b"\x00\x00\x00\x03\x00\x00\x00\x00", "impossible size 3"),
        (b"\x00\x00\x00\x1d\x00\x00\x00\x02", "impossible size 29"),
        (b"\x00\x00\x03\xe9\x00\x00\x00\x02", "impossible size 1001"),
        (b"\xff\xff\xff\xff\x00\x00\x00\x00", "impossible size 4294967295"),
        (b"HTTP/1.1 400 Bad Request\r\n", "unknown frame type"),
    ],
)
def test_what_is_no_frame_is_refused_by_its_head(head: bytes, reason: str) -> None:
    for more in (b"", bytes(2000)):
        parser = FrameParser[Message](frame_bytes_max=1000)
        assert parser.receive_data(OK_FRAME + head + more) == [Response(b"OK")]
        assert isinstance(parser.error, FrameError)
        assert reason in str(parser.error)
        assert parser.receive_data(OK_FRAME) == []


bodies = st.binary(min_size=1, max_size=300)
server_frames = st.one_of(
    st.just((OK_FRAME, [Response(b"OK")])),
    st.just((HEARTBEAT_FRAME, [Response(b"_heartbeat_")])),
    st.binary(max_size=40).map(lambda data: (encode_response(data), [Response(data)])),
    st.binary(max_size=40).map(lambda line: (encode_error(line), [ErrorFrame(line)])),
    st.tuples(st.lists(bodies, min_size=1, max_size=8), st.integers(0, 2**63)).map(
        lambda batch: (
            encode_messages(batch[0], batch[1], 77)[0],
            [
                Message(77, 1, message_id(batch[1] + index), body)
                for index, body in enumerate(batch[0])
            ],
        )
    ),
)


@given(st.lists(server_frames, max_size=12), st.lists(st.integers(0, 10_000), max_size=12))
def test_the_frames_of_a_server_come_back_however_the_stream_is_cut(
    sent: list[tuple[bytes, list[Frame]]], positions: list[int]
) -> None:
    stream = b"".join(data for data, _ in sent)
    expected = [frame for _, frames in sent for frame in frames]
    assert parse(*cut(stream, positions)) == expected
    assert parse(*(stream[at : at + 1] for at in range(len(stream)))) == expected


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_garbage_gives_the_same_frames_and_error_however_it_is_cut(
    garbage: bytes, positions: list[int]
) -> None:
    whole, pieces = FrameParser[Message](), FrameParser[Message]()
    expected = whole.receive_data(garbage)
    got = [frame for piece in cut(garbage, positions) for frame in pieces.receive_data(piece)]
    assert got == expected
    assert str(pieces.error) == str(whole.error)
