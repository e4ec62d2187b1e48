"""
What must hold for any stream: its cuts do not matter, and no bytes raise.

Streams are made of a client's commands, of commands with something wrong in them, and of garbage.
"""

from itertools import pairwise
from typing import Any

from hypothesis import given, strategies as st

from nsqx.protocol import commands
from nsqx.protocol.command_parser import CommandParser, Limits
from nsqx.protocol.commands import (
    MAGIC_V2,
    Auth,
    Close,
    Identify,
    LineTooLongError,
    MultiPublish,
    Nop,
    Publish,
    Ready,
    Requeue,
    Subscribe,
    Touch,
    UnknownId,
    Violation,
)
from tests.support.command_events import normalized, parse_pieces

LIMITS = Limits(max_msg_size=60, max_body_size=200, max_rdy_count=50, max_req_timeout_ms=9000)

topics = st.sampled_from(["t", "u", "orders.v2#ephemeral"])
bodies = st.binary(min_size=1, max_size=60)
numbers = st.integers(0, 2**64 - 1)
hex_ids = numbers.map(lambda number: (b"%016x" % number, ("finish", number)))
other_ids = st.binary(min_size=16, max_size=16).filter(
    lambda id: not set(id) & set(b" \n") and id[-1:] != b"\r" and set(id) - set(b"0123456789abcdef")
)
delays_ms = st.integers(0, 9000)

# Each is (bytes, the events they give).
anywhere: st.SearchStrategy[Any] = st.one_of(
    st.just((commands.nop(), [Nop()])),
    st.tuples(topics, bodies).map(lambda args: (commands.pub(*args), [Publish(*args, None)])),
    st.tuples(topics, delays_ms, bodies).map(
        lambda args: (commands.dpub(*args), [Publish(args[0], args[2], args[1])])
    ),
    st.tuples(topics, st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9)).map(
        lambda args: (commands.mpub(*args), [MultiPublish(*args)])
    ),
)
before_sub: st.SearchStrategy[Any] = st.one_of(
    anywhere,
    bodies.map(lambda body: (commands.identify(body), [Identify(body)])),
    bodies.map(lambda secret: (commands.auth(secret), [Auth(secret)])),
)
after_sub: st.SearchStrategy[Any] = st.one_of(
    anywhere,
    st.integers(0, 50).map(lambda count: (commands.rdy(count), [Ready(count)])),
    st.lists(hex_ids, min_size=1, max_size=9).map(
        lambda ids: (commands.fin_run([id for id, _ in ids]), [event for _, event in ids])
    ),
    other_ids.map(lambda id: (commands.fin(id), [UnknownId(b"FIN", id)])),
    other_ids.map(lambda id: (commands.touch(id), [UnknownId(b"TOUCH", id)])),
    other_ids.map(lambda id: (commands.req(id, 1), [UnknownId(b"REQ", id)])),
    numbers.map(lambda number: (commands.touch(b"%016x" % number), [Touch(number)])),
    st.tuples(numbers, delays_ms).map(
        lambda args: (commands.req(b"%016x" % args[0], args[1]), [Requeue(*args)])
    ),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[object]]:
    """Everything a well-behaved client may send, and the events it stands for."""
    sent: list[tuple[bytes, list[object]]] = [(MAGIC_V2, [])]
    sent += draw(st.lists(before_sub, max_size=5))
    if draw(st.booleans()):
        sent.append((commands.sub("t", "c"), [Subscribe("t", "c")]))
        sent += draw(st.lists(after_sub, max_size=12))
        if draw(st.booleans()):
            sent.append((commands.cls(), [Close()]))
            sent += draw(st.lists(anywhere, max_size=3))
    stream = b"".join(data for data, _ in sent)
    return stream, normalized(event for _, events in sent for event in events)


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    edges = [0, *sorted(position % (len(data) + 1) for position in positions), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


cuts = st.lists(st.integers(0, 10_000), max_size=10)


@given(conversations(), cuts)
def test_what_a_client_sends_is_what_the_server_gets(
    conversation: tuple[bytes, list[object]], positions: list[int]
) -> None:
    stream, expected = conversation
    assert parse_pieces(cut(stream, positions), LIMITS, eof=True) == expected


@given(conversations())
def test_byte_by_byte_gives_the_same(conversation: tuple[bytes, list[object]]) -> None:
    stream, expected = conversation
    pieces = [stream[at : at + 1] for at in range(len(stream))]
    assert parse_pieces(pieces, LIMITS, eof=True) == expected


@st.composite
def damaged_conversations(draw: st.DrawFn) -> bytes:
    """A conversation with some bytes replaced, inserted or left out."""
    stream = bytearray(draw(conversations())[0])
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(4, len(stream)))
        end = start + draw(st.integers(0, 4))
        stream[start:end] = draw(st.binary(max_size=4))
    return bytes(stream)


COMMAND_WORDS = b"NOP RDY FIN REQ TOUCH CLS SUB PUB DPUB MPUB AUTH IDENTIFY".split()
OTHER_WORDS = b"t bad! 0 -1 18446744073709551616 0123456789abcdef 0123456789abcdeF \xff {}".split()
SIZES = [bytes([0, 0, 0, size]) for size in (0, 1, 2, 9)]
words = st.sampled_from([*COMMAND_WORDS, *OTHER_WORDS, *SIZES, b"\n", b"\r\n", b" "])
garbage = st.one_of(
    st.binary(max_size=100).map(lambda data: MAGIC_V2 + data),
    st.lists(words, max_size=40).map(lambda parts: MAGIC_V2 + b"".join(parts)),
    st.lists(words, max_size=40).map(lambda parts: MAGIC_V2 + b"SUB t c\n" + b"".join(parts)),
    damaged_conversations(),
    st.binary(max_size=8),
)


@given(garbage, cuts)
def test_garbage_is_parsed_or_refused_the_same_way_however_it_is_cut(
    stream: bytes, positions: list[int]
) -> None:
    whole = parse_pieces([stream], LIMITS, eof=True)
    assert parse_pieces(cut(stream, positions), LIMITS, eof=True) == whole
    assert parse_pieces([stream[at : at + 1] for at in range(len(stream))], LIMITS, eof=True) == (
        whole
    )


@given(garbage, st.binary(max_size=50))
def test_nothing_is_read_after_a_violation(stream: bytes, more: bytes) -> None:
    parser = CommandParser(LIMITS)
    events = parser.receive_data(stream)
    if events and isinstance(events[-1], Violation | LineTooLongError):
        assert parser.receive_data(more) == []
        assert parser.receive_data(commands.pub("t", b"x")) == []
        assert parser.receive_eof() == []
    else:
        assert parser.error is None
    last = len(events) - 1
    assert not any(isinstance(event, Violation) for event in events[:last])


@given(st.sampled_from(["t", "u"]), st.lists(bodies, min_size=1, max_size=4), cuts)
def test_limits_hold_for_every_message(
    topic: str, messages: list[bytes], positions: list[int]
) -> None:
    """Whatever the limit, a batch passes exactly when all of it is within."""
    stream = MAGIC_V2 + commands.mpub(topic, messages)
    body_bytes = 4 + sum(4 + len(message) for message in messages)
    for limits in (
        Limits(max_msg_size=max(map(len, messages)), max_body_size=max(body_bytes, 9)),
        Limits(max_msg_size=max(map(len, messages)) - 1, max_body_size=body_bytes),
        Limits(max_msg_size=60, max_body_size=body_bytes - 1),
    ):
        events = parse_pieces(cut(stream, positions), limits)
        fits = max(map(len, messages)) <= limits.max_msg_size and body_bytes <= limits.max_body_size
        assert (events == [MultiPublish(topic, messages)]) is fits
