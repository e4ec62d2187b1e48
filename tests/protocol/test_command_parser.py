"""
The server's grammar by example: exact bytes in, commands and NSQ's errors out.

That no example depends on how its bytes are cut is in ``test_command_parser_properties``, and that
the real daemon answers so is in ``test_golden_answers``.
"""

import gc
import struct
from array import array

import pytest

from nsqx.protocol import commands
from nsqx.protocol.command_parser import (
    LEGAL,
    LINE_BYTES_MAX,
    STRANGER_BODY_BYTES_MAX,
    CommandParser,
    Limits,
    State,
)
from nsqx.protocol.commands import (
    MAGIC_V2,
    NOP,
    Auth,
    Close,
    Command,
    FinishRun,
    Identify,
    LineTooLongError,
    MultiPublish,
    MultiPublishStart,
    Nop,
    Publish,
    Ready,
    Requeue,
    Return,
    Subscribe,
    Touch,
    UnknownId,
    Violation,
)
from tests.support.command_events import command_of, error_lines, normalized, parse_pieces

ID = b"0123456789abcdef"
ID_NUMBER = 0x0123456789ABCDEF
LIMITS = Limits(max_msg_size=1024, max_body_size=4096)
SUB = b"SUB t c\n"


def u32(number: int) -> bytes:
    return struct.pack(">i", number)


def greeted(limits: Limits = LIMITS, *, tls_required: bool = False) -> CommandParser:
    parser = CommandParser(limits, tls_required=tls_required)
    assert parser.receive_data(MAGIC_V2) == []
    return parser


def parse(data: bytes) -> list[Command]:
    return greeted().receive_data(data)


def subscribed() -> CommandParser:
    parser = greeted()
    assert parser.receive_data(SUB) == [Subscribe("t", "c")]
    return parser


def parse_subscribed(data: bytes) -> list[Command]:
    return subscribed().receive_data(data)


def only_error(events: list[Command]) -> bytes:
    (event,) = events
    assert isinstance(event, Violation)
    return event.error.line


# Start of a connection


def test_commands_may_follow_the_magic_in_one_read() -> None:
    assert CommandParser(LIMITS).receive_data(b"  V2NOP\n") == [Nop()]


@pytest.mark.parametrize("magic", [b"  V1", b"GET / HTTP/1.1\r\n\r\n", b"\n\n\n\n"])
def test_another_magic_is_a_violation_without_description(magic: bytes) -> None:
    parser = CommandParser(LIMITS)
    assert only_error(parser.receive_data(magic)) == b"E_BAD_PROTOCOL"


def test_nothing_is_said_before_four_bytes_have_come() -> None:
    parser = CommandParser(LIMITS)
    assert parser.receive_data(b"GET") == []
    assert parser.receive_eof() == []
    assert parser.error is None


# Lines


@pytest.mark.parametrize("line", [b"NOP\n", b"NOP\r\n", b"NOP extra words\r\n"])
def test_a_carriage_return_and_surplus_words_are_ignored(line: bytes) -> None:
    assert parse(line) == [Nop()]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b"FOO bar\n", b"FOO"),
        (b"nop\n", b"nop"),
        (b"\n", b""),
        (b"\r\n", b""),
        (b" NOP\n", b""),
        (b"NOP\r\r\n", b"NOP\r"),
        (b"NOP\tx\n", b"NOP\tx"),
        (b"\xff\x00\x01\n", b"\xff\x00\x01"),
    ],
)
def test_an_unknown_word_is_echoed_as_it_is(line: bytes, word: bytes) -> None:
    assert only_error(parse(line)) == b"E_INVALID invalid command " + word


def test_a_line_may_fill_the_buffer() -> None:
    line = b"NOP " + b"x" * (LINE_BYTES_MAX - 5) + b"\n"
    assert parse(line) == [Nop()]
    assert parse(line + line) == [Nop(), Nop()]
    assert parse(b"NOP\nNOP x" + line[4:]) == [Nop(), LineTooLongError()]


def test_a_line_beyond_the_buffer_closes_without_an_answer() -> None:
    parser = greeted()
    assert parser.receive_data(b"NOP\n" + b"A" * LINE_BYTES_MAX) == [Nop(), LineTooLongError()]
    assert parser.receive_data(b"\nNOP\n") == []
    assert parser.error is None
    assert parser.finished


def test_a_line_too_long_is_found_before_its_newline_comes() -> None:
    parser = greeted()
    assert parser.receive_data(b"A" * (LINE_BYTES_MAX - 1)) == []
    assert parser.receive_data(b"A") == [LineTooLongError()]


# States


@pytest.mark.parametrize("word", [b"IDENTIFY", b"AUTH", b"SUB"])
def test_what_comes_before_sub_is_illegal_after_it(word: bytes) -> None:
    expected = b"E_INVALID cannot %b in current state" % word
    assert only_error(parse_subscribed(word + b"\n")) == expected


@pytest.mark.parametrize("word", [b"RDY", b"FIN", b"REQ", b"TOUCH", b"CLS"])
def test_what_needs_a_subscription_is_illegal_before_sub(word: bytes) -> None:
    expected = b"E_INVALID cannot %b in current state" % word
    assert only_error(parse(word + b" 0123456789abcdef 0\n")) == expected


def test_after_cls_answers_still_work_and_rdy_does_nothing() -> None:
    answers = b"FIN " + ID + b"\nREQ " + ID + b" 0\nTOUCH " + ID + b"\nRDY not-even-a-number\n"
    assert parse_subscribed(b"CLS\n" + answers) == [
        Close(),
        FinishRun(array("Q", [ID_NUMBER])),
        Requeue(ID_NUMBER, 0),
        Touch(ID_NUMBER),
        Nop(),
    ]


def test_a_second_cls_is_a_violation() -> None:
    events = parse_subscribed(b"CLS\nCLS\n")
    assert events[0] == Close()
    assert error_lines(events) == [b"E_INVALID cannot CLS in current state"]


def test_state_follows_the_commands_of_one_read() -> None:
    events = parse(b"SUB t c\nRDY 1\nSUB t c\nNOP\n")
    assert events[:2] == [Subscribe("t", "c"), Ready(1)]
    assert error_lines(events) == [b"E_INVALID cannot SUB in current state"]
    assert len(events) == 3  # nothing is read after a violation


def test_publishing_is_legal_everywhere() -> None:
    for state in State:
        assert {b"NOP", b"PUB", b"DPUB", b"MPUB"} <= LEGAL[state]


@pytest.mark.parametrize("word", [b"NOP", b"SUB", b"PUB", b"AUTH", b"FIN", b"FOO", b"", b"\xff"])
def test_with_tls_required_only_identify_is_heard(word: bytes) -> None:
    parser = greeted(tls_required=True)
    expected = b"E_INVALID cannot %b in current state (TLS required)" % word
    assert only_error(parser.receive_data(word + b" bar\n")) == expected


def test_tls_once_granted_lifts_the_requirement() -> None:
    parser = greeted(tls_required=True)
    assert parser.receive_data(b"IDENTIFY\n\0\0\0\2{}") == [Identify(b"{}")]
    parser.tls_required = False
    assert parser.resume() == []
    assert parser.receive_data(SUB) == [Subscribe("t", "c")]


# IDENTIFY and AUTH


def test_identify_stops_the_parser_until_it_is_resumed() -> None:
    parser = greeted()
    assert parser.receive_data(b"IDENTIFY a b\n\0\0\0\2{}NOP\n") == [Identify(b"{}")]
    assert parser.receive_data(b"NOP\nNO") == []
    assert parser.resume() == [Nop()]  # two, which say no more than one
    assert parser.receive_data(b"P\n") == [Nop()]


def test_the_bytes_behind_identify_can_be_taken_for_another_layer() -> None:
    parser = greeted()
    parser.receive_data(b"IDENTIFY\n\0\0\0\2{}\x16\x03")
    parser.receive_data(b"\x01")
    assert parser.take_rest() == b"\x16\x03\x01"
    assert parser.resume() == []
    assert parser.receive_data(b"NOP\n") == [Nop()]


def test_identify_may_come_again_before_sub() -> None:
    parser = greeted()
    assert parser.receive_data(b"IDENTIFY\n\0\0\0\2{}" * 2) == [Identify(b"{}")]
    assert parser.resume() == [Identify(b"{}")]
    assert parser.resume() == []


def test_a_publish_line_seen_before_identify_is_not_acted_on_while_stopped() -> None:
    parser = greeted()
    publish = commands.pub("t", b"x")
    parser.receive_data(publish + commands.identify(b"{}"))
    assert parser.receive_data(publish) == []
    assert parser.resume() == [Publish("t", b"x", None)]


def test_eof_while_stopped_is_told_after_resuming() -> None:
    parser = greeted()
    parser.receive_data(b"IDENTIFY\n\0\0\0\2{}PUB t\n\0")
    assert parser.receive_eof() == []
    expected = b"E_BAD_MESSAGE PUB failed to read message body size"
    assert error_lines(parser.resume()) == [expected]


def test_sub_is_refused_without_heartbeats() -> None:
    parser = greeted()
    parser.heartbeats_enabled = False
    expected = b"E_INVALID cannot SUB with heartbeats disabled"
    assert only_error(parser.receive_data(b"SUB\n")) == expected


def test_return_is_no_command_unless_it_was_granted() -> None:
    line = b"RETURN 0123456789abcdef\n"
    assert error_lines(parse(b"SUB t c\n" + line)) == [b"E_INVALID invalid command RETURN"]
    parser = greeted()
    parser.returns_enabled = True
    assert parser.receive_data(b"SUB t c\n" + line)[1:] == [Return(b"0123456789abcdef")]
    parser = greeted()
    parser.returns_enabled = True
    expected = b"E_INVALID cannot RETURN in current state"
    assert only_error(parser.receive_data(line)) == expected


def test_auth_takes_a_secret_and_no_words() -> None:
    assert parse(b"AUTH\n\0\0\0\6secretNOP\n") == [Auth(b"secret"), Nop()]
    expected = b"E_INVALID AUTH invalid number of parameters"
    assert only_error(parse(b"AUTH \n\0\0\0\6secret")) == expected


@pytest.mark.parametrize("word", [b"IDENTIFY", b"AUTH"])
@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (4097, b"body too big 4097 > 4096"),
        (0, b"invalid body size 0"),
        (-1, b"invalid body size -1"),
        (-(2**31), b"invalid body size -2147483648"),
    ],
)
def test_sizes_of_identify_and_auth(word: bytes, size: int, reason: bytes) -> None:
    assert only_error(parse(word + b"\n" + u32(size))) == b"E_BAD_BODY %b %b" % (word, reason)


# SUB and RDY


def test_sub_checks_words_then_topic_then_channel() -> None:
    assert only_error(parse(b"SUB\n")) == b"E_INVALID SUB insufficient number of parameters"
    assert only_error(parse(b"SUB bad!\n")) == b"E_INVALID SUB insufficient number of parameters"
    expected = b'E_BAD_TOPIC SUB topic name "bad!" is not valid'
    assert only_error(parse(b"SUB bad! bad?\n")) == expected
    expected = b'E_BAD_CHANNEL SUB channel name "" is not valid'
    assert only_error(parse(b"SUB t \n")) == expected


def test_names_are_quoted_in_errors() -> None:
    expected = 'E_BAD_TOPIC SUB topic name "\\xff\\t\\"é" is not valid'.encode()
    assert only_error(parse(b'SUB \xff\t"\xc3\xa9 c\n')) == expected


@pytest.mark.parametrize(
    ("line", "count"),
    [
        (b"RDY\n", 1),
        (b"RDY \n", 0),
        (b"RDY 007\n", 7),
        (b"RDY 2500 extra\r\n", 2500),
        (b"RDY 18446744073709551617\n", 1),  # 2 ** 64 + 1
        (b"RDY " + b"0" * 10_000 + b"9\n", 9),
    ],
)
def test_counts_of_rdy(line: bytes, count: int) -> None:
    assert parse_subscribed(line) == [Ready(count)]


@pytest.mark.parametrize("word", [b"-1", b"+1", b"1.5", b"abc", b"1_0", b"\xb2", b"0x1", b"1\t"])
def test_rdy_takes_digits_only(word: bytes) -> None:
    expected = b"E_INVALID RDY could not parse count " + word
    assert only_error(parse_subscribed(b"RDY %b\n" % word)) == expected


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (b"2501", b"2501"),
        (b"18446744073709551615", b"-1"),
        (b"71" + b"0" * 63, b"-9223372036854775808"),  # an odd multiple of 2 ** 63
    ],
)
def test_rdy_beyond_the_limit(word: bytes, shown: bytes) -> None:
    expected = b"E_INVALID RDY count %b out of range 0-2500" % shown
    assert only_error(parse_subscribed(b"RDY %b\n" % word)) == expected


# FIN, REQ, TOUCH


def test_a_run_of_fins_is_one_event() -> None:
    ids = [b"%016x" % number for number in (0, 1, 2**64 - 1, ID_NUMBER)]
    assert parse_subscribed(commands.fin_run(ids)) == [
        FinishRun(array("Q", [0, 1, 2**64 - 1, ID_NUMBER]))
    ]


def test_a_run_ends_where_another_command_begins() -> None:
    run = commands.fin_run([b"%016x" % number for number in range(3)])
    assert parse_subscribed(run + b"RDY 5\n" + run + b"FIN 01") == [
        FinishRun(array("Q", [0, 1, 2])),
        Ready(5),
        FinishRun(array("Q", [0, 1, 2])),
    ]


@pytest.mark.parametrize("id", [b"0123456789ABCDEF", b"not-hex-16-bytes", b"\xff" * 16, b"\t" * 16])
def test_ids_that_are_not_ours_come_as_they_are(id: bytes) -> None:
    line = b"FIN %b\n" % id
    assert parse_subscribed(line) == [UnknownId(b"FIN", id)]
    ours = commands.fin(ID)
    assert parse_subscribed(ours + line + ours) == [
        FinishRun(array("Q", [ID_NUMBER])),
        UnknownId(b"FIN", id),
        FinishRun(array("Q", [ID_NUMBER])),
    ]


@pytest.mark.parametrize("end", [b"\r\n", b" extra\n"])
def test_a_fin_that_breaks_the_stride_is_still_one_of_ours(end: bytes) -> None:
    assert parse_subscribed(b"FIN " + ID + end) == [FinishRun(array("Q", [ID_NUMBER]))]


def test_ids_of_other_lengths_are_not_taken_for_a_run() -> None:
    # 15 + 17 digits have the length of a run of two.
    events = parse_subscribed(b"FIN 0123456789abcde\nFIN 0123456789abcdef0\n")
    assert only_error(events) == b"E_INVALID invalid message ID"
    events = parse_subscribed(commands.fin(ID) + b"FIN 0123456789abcdef0\nFIN 0123456789abcde\n")
    assert normalized(events) == [
        ("finish", ID_NUMBER),
        ("violation", b"E_INVALID invalid message ID"),
    ]


@pytest.mark.parametrize("word", [b"FIN", b"REQ", b"TOUCH"])
def test_answers_check_words_then_id(word: bytes) -> None:
    expected = b"E_INVALID %b insufficient number of params" % word
    assert only_error(parse_subscribed(word + b"\n")) == expected
    for id in (b"", b"123", ID + b"0"):
        events = parse_subscribed(b"%b %b 0\n" % (word, id))
        assert only_error(events) == b"E_INVALID invalid message ID"


@pytest.mark.parametrize(
    ("word", "timeout_ms"),
    [
        (b"0", 0),
        (b"", 0),
        (b"600", 600),
        (b"3600000", 3_600_000),
        (b"99999999", 3_600_000),
        (b"18446744073709551616", 0),
    ],
)
def test_a_requeue_beyond_the_limit_is_cut(word: bytes, timeout_ms: int) -> None:
    assert parse_subscribed(b"REQ %b %b\n" % (ID, word)) == [Requeue(ID_NUMBER, timeout_ms)]


def test_req_needs_a_number() -> None:
    expected = b"E_INVALID REQ insufficient number of params"
    assert only_error(parse_subscribed(b"REQ " + ID + b"\n")) == expected
    expected = b"E_INVALID REQ could not parse timeout -1"
    assert only_error(parse_subscribed(b"REQ " + ID + b" -1\n")) == expected


# PUB and DPUB


def test_publishes_of_one_connection() -> None:
    parser = greeted()
    expected = [Publish("t", b"body", None)]
    for _ in range(3):  # the second is recognised by its line
        assert parser.receive_data(commands.pub("t", b"body")) == expected
    assert (
        parser.receive_data(commands.pub("t", b"a") * 3 + b"PUB t\n\0")
        == [Publish("t", b"a", None)] * 3
    )
    assert parser.receive_data(b"\0\0\1z") == [Publish("t", b"z", None)]
    assert parser.receive_data(commands.pub("u", b"x")) == [Publish("u", b"x", None)]
    assert parser.receive_data(commands.dpub("t", 0, b"x")) == [Publish("t", b"x", 0)]
    assert parser.receive_data(commands.dpub("t", 3_600_000, b"x")) == [
        Publish("t", b"x", 3_600_000)
    ]


def test_pub_checks_words_then_name_then_size() -> None:
    assert only_error(parse(b"PUB\n")) == b"E_INVALID PUB insufficient number of parameters"
    expected = b'E_BAD_TOPIC PUB topic name "" is not valid'
    assert only_error(parse(b"PUB \n\0\0\0\0")) == expected


def test_dpub_checks_words_then_name_then_delay_then_size() -> None:
    assert only_error(parse(b"DPUB t\n")) == b"E_INVALID DPUB insufficient number of parameters"
    expected = b'E_BAD_TOPIC DPUB topic name "bad!" is not valid'
    assert only_error(parse(b"DPUB bad! abc\n")) == expected
    expected = b"E_INVALID DPUB could not parse timeout abc"
    assert only_error(parse(b"DPUB t abc\n\0\0\0\0")) == expected
    expected = b"E_INVALID DPUB timeout 3600001 out of range 0-3600000"
    assert only_error(parse(b"DPUB t 3600001\n\0\0\0\0")) == expected


@pytest.mark.parametrize("line", [b"PUB t\n", b"DPUB t 5\n"])
@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (0, b"invalid message body size 0"),
        (-5, b"invalid message body size -5"),
        (1025, b"message too big 1025 > 1024"),
    ],
)
def test_sizes_of_messages_are_judged_before_the_body_comes(
    line: bytes, size: int, reason: bytes
) -> None:
    word = line.split()[0]
    for before in (b"", commands.pub("t", b"x")):  # the second time the line is known
        events = parse(before + line + u32(size))
        assert error_lines(events) == [b"E_BAD_MESSAGE %b %b" % (word, reason)]


def test_a_known_line_does_not_let_a_wrong_body_pass() -> None:
    for body in (b"", b"x" * 1025):
        parser = greeted()
        parser.receive_data(commands.pub("t", b"x"))
        events = parser.receive_data(b"PUB t\n" + u32(len(body)) + body)
        assert isinstance(events[0], Violation)


def test_a_body_that_looks_like_a_command_is_a_body() -> None:
    inner = commands.pub("t", b"inner")
    parser = greeted()
    parser.receive_data(commands.pub("t", b"x"))
    assert parser.receive_data(b"PUB u\n" + u32(len(inner))) == []
    assert parser.receive_data(inner) == [Publish("u", inner, None)]
    assert parser.receive_data(b"NOP ") == []
    events = parser.receive_data(inner)  # the rest of the NOP's line, then "\0\0\0\5inner"
    assert events == [Nop()]


# MPUB


def test_a_batch_that_is_complete_needs_no_announcement() -> None:
    parser = greeted()
    for _ in range(3):  # the second is recognised by its line
        assert parser.receive_data(commands.mpub("t", [b"a", b"bb"])) == [
            MultiPublish("t", [b"a", b"bb"])
        ]


def test_a_batch_that_is_not_complete_is_announced() -> None:
    parser = greeted()
    stream = commands.mpub("t", [b"a", b"bb"])
    assert parser.receive_data(stream[:7]) == [MultiPublishStart("t")]
    assert parser.receive_data(stream[7:-1]) == []
    assert parser.receive_data(stream[-1:] + b"NOP\n") == [MultiPublish("t", [b"a", b"bb"]), Nop()]


def test_the_body_size_of_a_batch_need_not_be_right() -> None:
    bodies = b"\0\0\0\2\0\0\0\1a\0\0\0\1b"
    for declared in (1, 4096):
        assert parse(b"MPUB t\n" + u32(declared) + bodies + b"NOP\n") == [
            MultiPublish("t", [b"a", b"b"]),
            Nop(),
        ]


def test_messages_that_go_beyond_the_limit_of_a_body_are_refused() -> None:
    # nsqd would take as many as the count says, whatever they add up to.
    parser = greeted()
    message = u32(1000) + b"x" * 1000
    assert parser.receive_data(b"MPUB t\n" + u32(10) + u32(5) + message * 4) == [
        MultiPublishStart("t")
    ]
    expected = b"E_BAD_BODY MPUB body too big 5024 > 4096"
    assert only_error(parser.receive_data(u32(1000))) == expected


def test_a_message_for_which_there_is_no_room_is_refused_before_its_size_comes() -> None:
    parser = greeted(Limits(max_msg_size=1024, max_body_size=4 + 4 + 10 + 3))
    body = u32(10) + u32(2) + u32(10) + b"x" * 10
    expected = b"E_BAD_BODY MPUB body too big 23 > 21"
    assert error_lines(parser.receive_data(b"MPUB t\n" + body)) == [expected]


def test_a_known_line_does_not_let_a_batch_too_big_pass() -> None:
    parser = greeted()
    parser.receive_data(commands.mpub("t", [b"x"]))
    events = parser.receive_data(commands.mpub("t", [b"x" * 1000] * 5))
    assert error_lines(events) == [b"E_BAD_BODY MPUB body too big 5024 > 4096"]


def test_mpub_checks_words_then_name() -> None:
    assert only_error(parse(b"MPUB\n")) == b"E_INVALID MPUB insufficient number of parameters"
    expected = b'E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "bad!" is not valid'
    assert only_error(parse(b"MPUB bad!\n")) == expected


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (u32(0), b"E_BAD_BODY MPUB invalid body size 0"),
        (u32(-1), b"E_BAD_BODY MPUB invalid body size -1"),
        (u32(4097), b"E_BAD_BODY MPUB body too big 4097 > 4096"),
        (u32(4) + u32(0), b"E_BAD_BODY MPUB invalid message count 0"),
        (u32(4) + u32(-1), b"E_BAD_BODY MPUB invalid message count -1"),
        (u32(4) + u32(819), b"E_BAD_BODY MPUB invalid message count 819"),
        (u32(9) + u32(1) + u32(0), b"E_BAD_MESSAGE MPUB invalid message(0) body size 0"),
        (
            u32(9) + u32(2) + u32(1) + b"a" + u32(-1),
            b"E_BAD_MESSAGE MPUB invalid message(1) body size -1",
        ),
        (u32(9) + u32(1) + u32(1025), b"E_BAD_MESSAGE MPUB message too big 1025 > 1024"),
    ],
)
def test_a_wrong_batch_is_announced_then_refused(body: bytes, line: bytes) -> None:
    for before in (b"", commands.mpub("t", [b"x"])):  # the second time the line is known
        events = parse(before + b"MPUB t\n" + body)
        assert events[-2] == MultiPublishStart("t")
        assert error_lines(events) == [line]


def test_the_largest_count_is_not_refused() -> None:
    assert parse(b"MPUB t\n" + u32(4) + u32(818)) == [MultiPublishStart("t")]


def test_a_message_of_a_batch_is_not_taken_for_a_publish_seen_before() -> None:
    limits = Limits(max_msg_size=2**31 - 1, max_body_size=2**31 - 1)
    parser = greeted(limits)
    parser.receive_data(commands.pub("t", b"x"))
    assert parser.receive_data(b"MPUB t\n" + u32(5) + u32(1)) == [MultiPublishStart("t")]
    # A size of b"PUB " bytes.
    assert parser.receive_data(commands.pub("t", b"x")) == []


# EOF


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"IDENTIFY\n", b"E_BAD_BODY IDENTIFY failed to read body size"),
        (b"IDENTIFY\n\0\0\0\2{", b"E_BAD_BODY IDENTIFY failed to read body"),
        (b"AUTH\n\0\0\0", b"E_BAD_BODY AUTH failed to read body size"),
        (b"AUTH\n\0\0\0\2", b"E_BAD_BODY AUTH failed to read body"),
        (b"PUB t\n\0", b"E_BAD_MESSAGE PUB failed to read message body size"),
        (b"PUB t\n\0\0\0\5ab", b"E_BAD_MESSAGE PUB failed to read message body"),
        (b"DPUB t 1\n", b"E_BAD_MESSAGE DPUB failed to read message body size"),
        (b"DPUB t 1\n\0\0\0\5ab", b"E_BAD_MESSAGE DPUB failed to read message body"),
        (b"MPUB t\n\0", b"E_BAD_BODY MPUB failed to read body size"),
        (b"MPUB t\n\0\0\0\x64", b"E_BAD_BODY MPUB failed to read message count"),
        (
            b"MPUB t\n\0\0\0\x64\0\0\0\2",
            b"E_BAD_MESSAGE MPUB failed to read message(0) body size",
        ),
        (
            b"MPUB t\n\0\0\0\x64\0\0\0\2\0\0\0\1a",
            b"E_BAD_MESSAGE MPUB failed to read message(1) body size",
        ),
        (
            b"MPUB t\n\0\0\0\x64\0\0\0\1\0\0\0\5ab",
            b"E_BAD_MESSAGE MPUB failed to read message body",
        ),
    ],
)
def test_eof_within_a_body_is_a_violation(data: bytes, line: bytes) -> None:
    parser = greeted()
    parser.receive_data(data)
    assert error_lines(parser.receive_eof()) == [line]
    assert parser.error is not None
    pieces = [MAGIC_V2, *(data[at : at + 1] for at in range(len(data)))]
    assert parse_pieces(pieces, LIMITS, eof=True)[-1] == ("violation", line)


@pytest.mark.parametrize("data", [b"", b"NOP\n", b"NOP", b"PUB t\n\0\0\0\1x", b"FOO\n"])
def test_eof_between_commands_or_in_a_line_says_nothing(data: bytes) -> None:
    parser = greeted()
    parser.receive_data(data)
    assert parser.receive_eof() == []


# Memory and work


def test_the_body_of_a_refused_size_is_not_kept() -> None:
    parser = greeted()
    parser.receive_data(b"PUB t\n" + u32(1025))
    for _ in range(100):
        assert parser.receive_data(b"x" * 1000) == []
    assert parser.receive_eof() == []


def test_what_the_caller_got_is_not_kept() -> None:
    parser = greeted()
    events = parser.receive_data(commands.mpub("t", [b"a"]))
    assert events == [MultiPublish("t", [b"a"])]
    assert not any(referrer is not events for referrer in gc.get_referrers(events[0]))
    assert parser not in gc.get_referrers(events)


def test_a_large_batch_arrives_in_many_reads() -> None:
    parser = greeted(Limits())
    bodies = [b"%d" % number * 40 for number in range(20_000)]
    stream = commands.mpub("t", bodies)
    pieces = [stream[at : at + 65_536] for at in range(0, len(stream), 65_536)]
    events = [event for piece in pieces for event in parser.receive_data(piece)]
    assert events == [MultiPublishStart("t"), MultiPublish("t", bodies)]


# A producer that waits for each answer


def publishing() -> CommandParser:
    parser = greeted()
    assert parser.receive_data(commands.pub("t", b"a")) == [Publish("t", b"a", None)]
    return parser


def test_a_publish_like_the_last_one_needs_no_parsing() -> None:
    parser = publishing()
    assert parser.lone_publish(commands.pub("t", b"bcd"), "t") == b"bcd"
    assert parser.receive_data(b"NOP\n") == [Nop()]


@pytest.mark.parametrize(
    "data",
    [
        commands.pub("u", b"a"),
        commands.pub("t", b"a")[:-1],
        commands.pub("t", b"a") + b"N",
        commands.pub("t", b"a" * (LIMITS.max_msg_size + 1)),
        b"PUB t\n" + u32(0),
        b"PUB t\n" + u32(-1) + b"a",
        b"PUB t\n",
        b"NOP\n",
    ],
)
def test_what_is_more_or_less_than_that_is_parsed(data: bytes) -> None:
    parser = publishing()
    assert parser.lone_publish(data, "t") is None
    assert normalized(parser.receive_data(data)) == normalized(publishing().receive_data(data))


def test_bytes_inside_of_a_body_are_no_publish() -> None:
    inner = commands.pub("t", b"a")
    parser = publishing()
    assert parser.receive_data(b"PUB t\n" + u32(len(inner) + 1) + b"x") == []
    assert parser.lone_publish(inner, "t") is None
    assert parser.receive_data(inner) == [Publish("t", b"x" + inner, None)]


def test_bytes_inside_of_a_batch_or_behind_its_upgrade_are_no_publish() -> None:
    inner = commands.pub("t", b"a")
    for start in (b"MPUB t\n" + u32(100) + u32(1), b"IDENTIFY\n" + u32(2) + b"{}"):
        parser = publishing()
        parser.receive_data(start)
        assert parser.lone_publish(inner, "t") is None


def test_a_publish_to_another_topic_than_the_caller_means_is_parsed() -> None:
    assert publishing().lone_publish(commands.pub("t", b"a"), "u") is None


# A consumer that answers its messages one by one


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"FIN " + ID + b"\n", FinishRun(array("Q", [ID_NUMBER]))),
        (b"TOUCH " + ID + b"\n", Touch(ID_NUMBER)),
        (b"REQ " + ID + b" 0\n", Requeue(ID_NUMBER, 0)),
        (b"REQ " + ID + b" 999999999999999999\n", Requeue(ID_NUMBER, LIMITS.max_req_timeout_ms)),
    ],
)
def test_one_answer_needs_no_parsing(data: bytes, answer: Command) -> None:
    parser = subscribed()
    lone = parser.lone_answer(data)
    assert lone is not None
    assert command_of(lone) == answer
    assert parser.receive_data(data) == [answer]


@pytest.mark.parametrize(
    "data",
    [
        b"FIN " + ID + b"\nN",
        b"FIN " + ID.upper() + b"\n",
        b"FIN " + ID + b" 0\n",
        b"TOUCH " + ID + b"\r\n",
        b"TOUCH 0123_5678_abcdef\n",
        b"REQ " + ID + b"\n",
        b"REQ " + ID + b" \n",
        b"REQ " + ID + b" -1\n",
        b"REQ " + ID + b" 1",
        b"REQ " + ID + b" 9999999999999999999\n",
        b"REQ  123456789abcdef 0\n",
        b"RDY 1\n",
        b"\n",
    ],
)
def test_what_is_more_or_less_than_one_answer_is_parsed(data: bytes) -> None:
    parser = subscribed()
    assert parser.lone_answer(data) is None
    assert normalized(parser.receive_data(data)) == normalized(subscribed().receive_data(data))


def test_bytes_inside_of_a_body_and_before_sub_are_no_answer() -> None:
    data = b"TOUCH " + ID + b"\n"
    assert greeted().lone_answer(data) is None
    parser = subscribed()
    assert parser.receive_data(b"PUB t\n" + u32(len(data))) == []
    assert parser.lone_answer(data) is None
    assert parser.receive_data(data) == [Publish("t", data, None)]


def test_a_run_of_nops_is_one_event() -> None:
    assert parse(b"NOP\n" * 1000 + b"NO") == [NOP]
    assert parse(b"NOP\n" * 3 + b"PUB t\n" + u32(1) + b"a" + b"NOP\n") == [
        NOP,
        Publish("t", b"a", None),
        NOP,
    ]
    assert only_error(greeted(tls_required=True).receive_data(b"NOP\nNOP\n")).startswith(
        b"E_INVALID cannot NOP in current state"
    )


@pytest.mark.parametrize("word", ["IDENTIFY", "AUTH"])
def test_strangers_may_not_send_much(word: str) -> None:
    parser = CommandParser(Limits())
    [violation] = parser.receive_data(b"  V2%b\n\x00\x00\x40\x01" % word.encode())
    assert isinstance(violation, Violation)
    assert violation.error.line == f"E_BAD_BODY {word} body too big 16385 > 16384".encode()


@pytest.mark.parametrize("word", ["PUB t", "DPUB t 5"])
def test_a_long_body_of_who_has_shown_no_secret_is_not_waited_for(word: str) -> None:
    start = f"{word}\n".encode() + (STRANGER_BODY_BYTES_MAX + 1).to_bytes(4, "big")
    parser = CommandParser(Limits())
    parser.auth_is_missing = True
    (violation,) = parser.receive_data(MAGIC_V2 + start)
    refused = f"E_AUTH_FIRST AUTH required before {word.split()[0]}".encode()
    assert isinstance(violation, Violation)
    assert violation.error.line == refused
    parser = CommandParser(Limits())
    parser.auth_is_missing = True
    assert parser.receive_data(MAGIC_V2 + b"AUTH\n\0\0\0\6secret" + start) == [Auth(b"secret")]
    assert parser.error is None
