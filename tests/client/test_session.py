"""The client's core: exact bytes out, events in, and that cutting the stream changes nothing."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, strategies as st

from nsqx.client.errors import AuthFailed, ConnectFailed, ConnectionClosed, IdentifyFailed
from nsqx.client.message import Message
from nsqx.client.session import (
    AnswerFailed,
    CloseWait,
    Confirmed,
    Event,
    Failed,
    Messages,
    Negotiated,
    Opened,
    Refused,
    Session,
    StartTls,
)
from nsqx.client.settings import Settings
from nsqx.protocol import commands
from nsqx.protocol.command_parser import CommandParser, Limits
from nsqx.protocol.commands import Auth, Identify
from nsqx.protocol.compression import (
    DeflateCompressor,
    DeflateDecompressor,
    SnappyCompressor,
    SnappyDecompressor,
)
from nsqx.protocol.errors import NsqError
from nsqx.protocol.frames import (
    CLOSE_WAIT_FRAME,
    HEARTBEAT_FRAME,
    OK_FRAME,
    encode_error,
    encode_response,
)
from nsqx.protocol.messages import encode_messages


class Command:
    """A request that knows its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def confirm(self) -> None:
        raise AssertionError("the session only tells what happened")

    def fail(self, error: NsqError) -> None:
        raise AssertionError("the session only tells what happened")


def make(**settings: Any) -> Session:
    source: Any = None
    return Session(Settings(hostname="h", **settings), "1.2.3.4:4150", partial(Message, source))


def answer(**fields: object) -> bytes:
    return encode_response(json.dumps({"max_rdy_count": 2500, **fields}).encode())


def opened(**settings: Any) -> Session:
    session = make(**settings)
    session.start()
    session.data_to_send()
    assert session.receive_data(answer()) == [Opened(Negotiated())]
    return session


def error_of(events: list[Event]) -> NsqError:
    (event,) = events
    assert isinstance(event, Failed)
    return event.error


# Handshake


def test_begins_with_magic_and_identify() -> None:
    session = make()
    session.start()
    parser = CommandParser(Limits())
    (identify,) = parser.receive_data(session.data_to_send())
    assert isinstance(identify, Identify)
    assert json.loads(identify.body)["hostname"] == "h"
    assert not session.has_output


def test_a_port_that_speaks_http_is_said_to_be_one() -> None:
    session = make()
    session.start()
    error = error_of(session.receive_data(b"HTTP/1.0 400 Bad Request\r\n\r\n"))
    assert str(error) == (
        "cannot connect to 1.2.3.4:4150: this port speaks HTTP; nsqd's TCP port is wanted, "
        "4150 by default"
    )


def test_reads_what_nsqd_grants() -> None:
    session = make(compression=None)
    session.start()
    session.receive_data(answer(max_rdy_count=10, msg_timeout=1500, version="1.3.0"))
    assert session.negotiated == Negotiated(10, 1.5, "1.3.0")


def test_an_nsqd_that_does_not_negotiate() -> None:
    session = make()
    session.start()
    assert session.receive_data(OK_FRAME) == [Opened(Negotiated())]


@pytest.mark.parametrize(
    "data",
    [
        encode_response(b"nonsense"),
        encode_response(b"[]"),
        encode_response(b'{"max_rdy_count":"many"}'),
        encode_error(b"E_BAD_BODY IDENTIFY heartbeat interval (1) is invalid"),
    ],
)
def test_a_handshake_that_fails(data: bytes) -> None:
    session = make()
    session.start()
    assert isinstance(error_of(session.receive_data(data)), IdentifyFailed)
    assert session.receive_data(OK_FRAME) == []


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\0", b"\xff" * 9])
def test_something_that_is_not_an_nsqd(data: bytes) -> None:
    session = make()
    session.start()
    assert isinstance(error_of(session.receive_data(data)), ConnectFailed)


def test_tls_is_started_and_confirmed_inside() -> None:
    session = make(tls=True)
    session.start()
    session.data_to_send()
    assert session.receive_data(answer(tls_v1=True)) == [StartTls()]
    assert not session.has_output
    session.tls_started()
    assert session.receive_data(OK_FRAME) == [Opened(session.negotiated)]


def test_without_the_tls_asked_for_there_is_no_connection() -> None:
    session = make(tls=True)
    session.start()
    error = error_of(session.receive_data(answer(tls_v1=False)))
    assert isinstance(error, IdentifyFailed)
    assert error.reason == "nsqd does not offer TLS"


@pytest.mark.parametrize("in_one_read", [True, False])
def test_snappy(in_one_read: bool) -> None:
    compressor, decompressor = SnappyCompressor(), SnappyDecompressor()
    session = make(compression="snappy")
    session.start()
    session.data_to_send()
    clear, compressed = answer(snappy=True), compressor.compress(OK_FRAME)
    if in_one_read:
        events = session.receive_data(clear + compressed)
    else:
        assert session.receive_data(clear) == []
        events = session.receive_data(compressed)
    assert events == [Opened(session.negotiated)]
    session.send(commands.nop())
    assert decompressor.decompress(session.data_to_send()) == b"NOP\n"
    assert session.receive_data(compressor.compress(CLOSE_WAIT_FRAME)) == [CloseWait()]


def test_deflate_inside_tls() -> None:
    compressor, decompressor = DeflateCompressor(6), DeflateDecompressor()
    session = make(tls=True, compression="deflate")
    session.start()
    session.data_to_send()
    assert session.receive_data(answer(tls_v1=True, deflate=True)) == [StartTls()]
    session.tls_started()
    assert session.receive_data(OK_FRAME) == []
    assert session.receive_data(compressor.compress(OK_FRAME)) == [Opened(session.negotiated)]
    session.send(commands.nop())
    assert decompressor.decompress(session.data_to_send()) == b"NOP\n"


def test_compression_that_nsqd_does_not_offer_is_done_without() -> None:
    session = make(compression="snappy")
    session.start()
    session.data_to_send()
    assert session.receive_data(answer(snappy=False)) == [Opened(Negotiated())]
    session.send(commands.nop())
    assert session.data_to_send() == b"NOP\n"


def test_damaged_compression_ends_the_connection() -> None:
    session = make(compression="snappy")
    session.start()
    error = error_of(session.receive_data(answer(snappy=True) + b"\x00nonsense"))
    assert isinstance(error, ConnectionClosed)


def test_auth_when_nsqd_demands_it() -> None:
    session = make(auth_secret="sesame")
    session.start()
    session.data_to_send()
    assert session.receive_data(answer(auth_required=True)) == []
    parser = CommandParser(Limits())
    assert parser.receive_data(b"  V2" + session.data_to_send()) == [Auth(b"sesame")]
    events = session.receive_data(encode_response(b'{"identity":"x","permission_count":1}'))
    assert events == [Opened(session.negotiated)]


def test_no_auth_when_nsqd_does_not_demand_it() -> None:
    assert not opened(auth_secret="sesame").has_output


@pytest.mark.parametrize("secret", [None, "wrong"])
def test_auth_that_fails(secret: str | None) -> None:
    session = make(auth_secret=secret)
    session.start()
    events = session.receive_data(answer(auth_required=True))
    if secret is not None:
        events = session.receive_data(encode_error(b"E_AUTH_FAILED AUTH failed"))
    assert isinstance(error_of(events), AuthFailed)


# Requests


def test_answers_belong_to_the_oldest_request() -> None:
    session = opened()
    first, second, third = (Command(name) for name in "abc")
    for command in (first, second, third):
        session.request(command, b"")
    assert session.receive_data(OK_FRAME * 2) == [Confirmed([first, second])]
    refused, failed = session.receive_data(encode_error(b"E_BAD_TOPIC PUB topic name"))
    assert isinstance(refused, Refused)
    assert refused.request is third
    assert (refused.error.code, refused.error.text) == ("E_BAD_TOPIC", "PUB topic name")
    assert isinstance(failed, Failed)


def test_late_answers_belong_to_no_request() -> None:
    session = opened()
    session.request(Command("a"), b"")
    line = b"E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight"
    assert session.receive_data(encode_error(line)) == [
        AnswerFailed("E_FIN_FAILED", "FIN 0123456789abcdef failed ID not in flight")
    ]
    assert len(session.pending) == 1


def test_an_error_without_a_request_ends_the_connection() -> None:
    error = error_of(opened().receive_data(encode_error(b"E_INVALID invalid message ID")))
    assert isinstance(error, ConnectionClosed)
    assert error.reason == "E_INVALID invalid message ID"


def test_an_answer_nobody_asked_for_ends_the_connection() -> None:
    assert isinstance(error_of(opened().receive_data(OK_FRAME)), ConnectionClosed)


def test_closing_returns_what_is_unanswered() -> None:
    session = opened()
    commands = [Command("a"), Command("b")]
    for command in commands:
        session.request(command, b"")
    assert session.close() == commands
    assert session.receive_data(OK_FRAME) == []


def test_finishes_come_last_and_together() -> None:
    session = opened()
    session.finish(b"0000000000000001")
    session.send(commands.rdy(0))
    session.finish(b"0000000000000002")
    sent = b"RDY 0\nFIN 0000000000000001\nFIN 0000000000000002\n"
    assert session.data_to_send() == sent
    assert session.data_to_send() == b""


def test_a_heartbeat_is_answered() -> None:
    session = opened()
    assert session.receive_data(HEARTBEAT_FRAME) == []
    assert session.data_to_send() == b"NOP\n"


# Any cut


def describe(events: list[Event]) -> list[object]:
    """Flatten what may be grouped differently."""
    flat: list[object] = []
    for event in events:
        match event:
            case Messages(messages):
                flat += [(message.id, message.attempts, message.body) for message in messages]
            case Confirmed(requests):
                flat += [request.name for request in requests if isinstance(request, Command)]
            case Failed(error):
                flat.append(str(error))
            case _:
                flat.append(event)
    return flat


FRAMES = st.sampled_from(
    [
        OK_FRAME,
        HEARTBEAT_FRAME,
        CLOSE_WAIT_FRAME,
        encode_error(b"E_TOUCH_FAILED TOUCH x"),
        encode_messages([b"one", b"two"], 7, 8)[0],
        encode_messages([b"x" * 100], 9, 8)[0],
    ]
)


@given(frames=st.lists(FRAMES, max_size=12), cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_the_result_does_not_depend_on_how_the_stream_is_cut(
    frames: list[bytes], cuts: list[int]
) -> None:
    stream = answer() + b"".join(frames)
    whole, pieces = make(), make()
    for session in (whole, pieces):
        session.start()
        session.data_to_send()
    expected = whole.receive_data(answer())
    got: list[Event] = []
    for session in (whole, pieces):
        if session is pieces:
            got += session.receive_data(answer())
        for number in range(frames.count(OK_FRAME)):
            session.request(Command(f"request {number}"), b"")
    rest = stream[len(answer()) :]
    expected += whole.receive_data(rest)
    position = 0
    for cut in [*sorted(cut % (len(rest) + 1) for cut in cuts), len(rest)]:
        got += pieces.receive_data(rest[position:cut])
        position = cut
    assert sorted(map(repr, describe(got))) == sorted(map(repr, describe(expected)))
    assert whole.data_to_send() == pieces.data_to_send()


@given(data=st.binary(max_size=200), is_open=st.booleans())
def test_garbage_is_parsed_or_refused(data: bytes, is_open: bool) -> None:
    session = opened() if is_open else make()
    if not is_open:
        session.start()
    for event in session.receive_data(data):
        assert isinstance(event, Event)
