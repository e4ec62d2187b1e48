"""One connection: requests in, registry changed, answers out."""

import json
from itertools import pairwise

from hypothesis import given, strategies as st

from nsqx.lookupd.answers import Answers
from nsqx.lookupd.registry import Limits as RegistryLimits, Registry
from nsqx.lookupd.session import Session
from nsqx.protocol.lookup import (
    MAGIC,
    OK_ANSWER,
    PING,
    AnswerParser,
    LookupLimits,
    PeerInfo,
    encode_identify,
    encode_register,
    encode_unregister,
)

NOW_NS = 1000
NODE = PeerInfo(broadcast_address="10.1.1.1", http_port=4151, tcp_port=4150, version="1.3.0")
IDENTIFIED = MAGIC + encode_identify(NODE)
IDENTITY = b'{"tcp_port":4160}'


def make_session(registry: Registry, limits: LookupLimits | None = None) -> Session:
    return Session(
        registry,
        remote_address="127.0.0.1:5000",
        identity=lambda peer: IDENTITY,
        limits=limits or LookupLimits(),
    )


def answers_of(output: bytes) -> list[bytes]:
    return AnswerParser().receive_data(output)


def test_answers_come_in_one_piece_and_in_order() -> None:
    registry = Registry()
    session = make_session(registry)
    stream = IDENTIFIED + PING + encode_register("t", "c") + encode_unregister("t", "c")
    assert answers_of(session.receive_data(stream, NOW_NS)) == [IDENTITY, b"OK", b"OK", b"OK"]
    assert not session.is_over
    assert json.loads(Answers(registry).channels("t")) == {"channels": ["c"]}


def test_error_comes_after_the_answers_to_what_was_right() -> None:
    session = make_session(Registry())
    output = session.receive_data(MAGIC + PING + b"FOO\nPING\n", NOW_NS)
    assert answers_of(output) == [b"OK", b"E_INVALID invalid command FOO"]
    assert session.is_over
    assert session.receive_data(PING, NOW_NS) == b""
    assert session.receive_eof(NOW_NS) == b""


def test_ping_before_identify_makes_no_producer() -> None:
    registry = Registry()
    assert make_session(registry).receive_data(MAGIC + PING, NOW_NS) == OK_ANSWER
    assert not registry.producers


def test_ping_is_a_sign_of_life() -> None:
    registry = Registry(inactive_timeout_ns=10)
    session = make_session(registry)
    session.receive_data(IDENTIFIED, NOW_NS)
    session.receive_data(PING, NOW_NS + 50)
    (producer,) = registry.producers
    assert producer.last_seen_ns == NOW_NS + 50


def test_end_of_the_connection_takes_the_producer_out() -> None:
    registry = Registry()
    session = make_session(registry)
    session.receive_data(IDENTIFIED + encode_register("t"), NOW_NS)
    session.close()
    assert not registry.producers
    assert list(registry.topics) == ["t"]
    session.close()


def test_error_leaves_the_producer_until_the_connection_is_lost() -> None:
    registry = Registry()
    session = make_session(registry)
    session.receive_data(IDENTIFIED + b"FOO\n", NOW_NS)
    assert len(registry.producers) == 1
    session.close()
    assert not registry.producers


def test_end_of_file_in_an_identify_is_answered() -> None:
    session = make_session(Registry())
    session.receive_data(MAGIC + b"IDENTIFY\n\x00", NOW_NS)
    output = session.receive_eof(NOW_NS)
    assert answers_of(output) == [b"E_BAD_BODY IDENTIFY failed to read body size"]
    assert session.is_over


def test_a_registration_too_many_is_refused_and_what_was_accepted_stays() -> None:
    registry = Registry(limits=RegistryLimits(registrations_per_producer=100))
    session = make_session(registry)
    flood = b"".join(encode_register(f"t{number}") for number in range(1000))
    answers = answers_of(session.receive_data(IDENTIFIED + flood, NOW_NS))
    assert answers[1:101] == [b"OK"] * 100
    assert set(answers[101:]) == {b"E_INVALID REGISTER too many registrations, limit 100"}
    assert len(answers) == 1001
    assert not session.is_over
    assert (registry.registrations, session.refused) == (100, 900)


LINES = st.sampled_from(
    [
        PING,
        b"REGISTER t c\n",
        b"REGISTER t2\r\n",
        b"UNREGISTER t\n",
        b"REGISTER bad!\n",
        b"IDENTIFY\n\x00\x00\x00\x02{}",
        b"\n",
        encode_identify(NODE),
    ]
)
CUTS = st.lists(st.integers(0, 400), max_size=8)


def outcome(pieces: list[bytes]) -> tuple[bytes, bool, bytes]:
    """Return what was answered, whether it is over, and what is registered then."""
    registry = Registry(limits=RegistryLimits(registrations_per_producer=2))
    session = make_session(registry, LookupLimits(line_bytes=40, identify_bytes=200))
    output = b"".join(session.receive_data(piece, NOW_NS) for piece in pieces)
    return output, session.is_over, b"".join(Answers(registry).debug())


@given(st.lists(LINES | st.binary(max_size=12), max_size=8), CUTS)
def test_result_does_not_depend_on_how_the_stream_is_cut(
    lines: list[bytes], cuts: list[int]
) -> None:
    stream = IDENTIFIED + b"".join(lines)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    assert outcome(pieces) == outcome([stream])


@given(st.lists(st.binary(), max_size=4))
def test_fuzzed_input_never_raises(pieces: list[bytes]) -> None:
    registry = Registry()
    for start in (b"", MAGIC, IDENTIFIED, IDENTIFIED + b"REGISTER "):
        session = make_session(registry)
        session.receive_data(start, NOW_NS)
        for piece in pieces:
            session.receive_data(piece, NOW_NS)
        session.receive_eof(NOW_NS)
        assert session.is_over
        session.close()
    assert not registry.producers
