"""
The lookup protocol, exact bytes first and properties after.

Both ends are tested apart from each other and, at the end, against each other.
"""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, strategies as st

from nsqx.protocol.errors import ProtocolError
from nsqx.protocol.lookup import (
    MAGIC,
    OK_ANSWER,
    PING,
    Advertised,
    AnswerParser,
    DirectoryInfo,
    LookupIdentify,
    LookupLimits,
    LookupViolation,
    PeerInfo,
    Ping,
    Register,
    Request,
    RequestParser,
    Unregister,
    decode_directory_info,
    encode_answer,
    encode_identify,
    encode_register,
    encode_unregister,
)

NODE = PeerInfo(
    broadcast_address="10.1.1.1", hostname="node1", http_port=4151, tcp_port=4150, version="1.3.0"
)
IDENTIFIED = MAGIC + encode_identify(NODE)


def parse(data: bytes, limits: LookupLimits | None = None) -> list[Request]:
    return RequestParser(limits).receive_data(data)


def refusal(data: bytes, limits: LookupLimits | None = None) -> bytes:
    """Return the error line that ends a stream."""
    last = parse(data, limits)[-1]
    assert isinstance(last, LookupViolation)
    return last.error.line


def identify(body: bytes) -> bytes:
    return MAGIC + b"IDENTIFY\n" + len(body).to_bytes(4, "big") + body


def test_right_magic_is_not_answered() -> None:
    assert parse(MAGIC) == []


@pytest.mark.parametrize("magic", [b"  V2", b"  v1", b"GET ", b"\x00\x00\x00\x00"])
def test_other_magic_is_refused(magic: bytes) -> None:
    assert refusal(magic) == b"E_BAD_PROTOCOL"


def test_short_magic_is_not_judged() -> None:
    parser = RequestParser()
    assert parser.receive_data(b"  V") == []
    assert parser.receive_eof() == []


def test_ping_needs_no_identify() -> None:
    assert parse(MAGIC + PING) == [Ping()]


@pytest.mark.parametrize("line", [b"PING extra\r\n", b"   PING\n", b"\tPING \r\n"])
def test_blanks_around_a_line_and_further_words_do_not_matter(line: bytes) -> None:
    assert parse(MAGIC + line) == [Ping()]


def test_identify() -> None:
    body = b'{"broadcast_address":"a","hostname":"h","tcp_port":1,"http_port":2,"version":"v"}'
    peer = PeerInfo(broadcast_address="a", hostname="h", tcp_port=1, http_port=2, version="v")
    assert parse(identify(body)) == [LookupIdentify(peer)]


def test_identify_ignores_unknown_keys_nulls_and_the_case_of_keys() -> None:
    body = (
        b'{"Broadcast_Address":"a","TCP_PORT":1,"http_port":2,"version":"v","hostname":null,"x":[]}'
    )
    peer = PeerInfo(broadcast_address="a", tcp_port=1, http_port=2, version="v")
    assert parse(identify(body)) == [LookupIdentify(peer)]


@pytest.mark.parametrize("missing", ["broadcast_address", "tcp_port", "http_port", "version"])
def test_identify_needs_what_a_consumer_needs(missing: str) -> None:
    fields = {"broadcast_address": "a", "tcp_port": 1, "http_port": 2, "version": "v"}
    expected = b"E_BAD_BODY IDENTIFY missing fields"
    without = {key: value for key, value in fields.items() if key != missing}
    assert refusal(identify(json.dumps(without).encode())) == expected
    empty = {**fields, missing: type(fields[missing])()}
    assert refusal(identify(json.dumps(empty).encode())) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{no",
        b"[]",
        b'"text"',
        b'{"tcp_port":"4150"}',
        b'{"tcp_port":1.5}',
        b'{"tcp_port":9223372036854775808}',
        b'{"version":1}',
        b'{"version":"\xff"}',
        b"[" * 10_000,
    ],
)
def test_identify_that_is_not_the_right_json(body: bytes) -> None:
    assert refusal(identify(body)) == b"E_BAD_BODY IDENTIFY failed to decode JSON body"


NETWORKS = (
    Advertised("10.0.0.0/8", "10.1.1.1", tcp_port=1, http_port=2),
    Advertised("fd00::/8", "fd00::1", tcp_port=3, http_port=4),
)


def test_identify_may_name_addresses_by_network() -> None:
    peer = msgspec.structs.replace(NODE, advertised=NETWORKS)
    assert parse(MAGIC + encode_identify(peer)) == [LookupIdentify(peer)]


@pytest.mark.parametrize(
    "advertised",
    [
        {},
        [],
        [{}],
        [{"network": "10.0.0.0/8", "broadcast_address": "a", "tcp_port": 0, "http_port": 1}],
        [{"network": "10.0.0.0/8", "broadcast_address": "a", "tcp_port": 65536, "http_port": 1}],
        [{"network": "10.0.0.0/8", "broadcast_address": "", "tcp_port": 1, "http_port": 1}],
        [{"network": "10.0.0.1/8", "broadcast_address": "a", "tcp_port": 1, "http_port": 1}],
        [{"network": "office", "broadcast_address": "a", "tcp_port": 1, "http_port": 1}],
        [{"network": "10.0.0.0/8", "broadcast_address": "a", "tcp_port": 1, "http_port": 1}] * 65,
    ],
)
def test_identify_with_addresses_by_network_that_are_none(advertised: object) -> None:
    fields = {"broadcast_address": "a", "tcp_port": 1, "http_port": 2, "version": "v"}
    body = json.dumps({**fields, "advertised": advertised}).encode()
    assert refusal(identify(body)) == b"E_BAD_BODY IDENTIFY failed to decode JSON body"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:80/x?y=",
        "a/b",
        "a b",
        "a@b",
        "\x1b[2J",
        "a" * 256,
        "-a",
        "::1:x",
        "169.254.169.254",
    ],
)
def test_a_broadcast_address_is_a_host_and_nothing_else(host: str) -> None:
    fields = {"broadcast_address": host, "tcp_port": 1, "http_port": 2, "version": "v"}
    assert refusal(identify(json.dumps(fields).encode())) == (
        b"E_BAD_BODY IDENTIFY invalid broadcast_address"
    )


@pytest.mark.parametrize("text", ["\x00" * 10, "a" * 257, "a\nb"])
@pytest.mark.parametrize("name", ["hostname", "version", "nsqx_version", "topology_zone"])
def test_what_a_node_says_about_itself_is_short_and_can_be_shown(name: str, text: str) -> None:
    fields = {"broadcast_address": "a", "tcp_port": 1, "http_port": 2, "version": "v", name: text}
    assert refusal(identify(json.dumps(fields).encode())) == b"E_BAD_BODY IDENTIFY invalid text"


def test_identify_of_null_lacks_fields() -> None:
    assert refusal(identify(b"null")) == b"E_BAD_BODY IDENTIFY missing fields"


def test_second_identify_is_refused_before_its_body() -> None:
    assert refusal(IDENTIFIED + b"IDENTIFY\n") == b"E_INVALID cannot IDENTIFY again"


def test_negative_size_is_refused() -> None:
    data = MAGIC + b"IDENTIFY\n\xff\xff\xff\xff"
    assert refusal(data) == b"E_BAD_BODY IDENTIFY failed to read body"


@pytest.mark.parametrize(
    ("cut", "missing"),
    [(b"", b"body size"), (b"\x00\x00", b"body size"), (b"\x00\x00\x00\x0a{}", b"body")],
)
def test_identify_cut_short(cut: bytes, missing: bytes) -> None:
    parser = RequestParser()
    assert parser.receive_data(MAGIC + b"IDENTIFY\n" + cut) == []
    (violation,) = parser.receive_eof()
    assert isinstance(violation, LookupViolation)
    assert violation.error.line == b"E_BAD_BODY IDENTIFY failed to read " + missing


def test_half_a_line_is_not_answered() -> None:
    parser = RequestParser()
    assert parser.receive_data(MAGIC + b"PING") == []
    assert parser.receive_eof() == []


def test_register_and_unregister() -> None:
    assert parse(IDENTIFIED + b"REGISTER t\nREGISTER t c extra\nUNREGISTER t c\r\n")[1:] == [
        Register("t", None),
        Register("t", "c"),
        Unregister("t", "c"),
    ]


def test_two_blanks_make_an_empty_channel_which_is_none() -> None:
    assert parse(IDENTIFIED + b"REGISTER t  c\n")[1:] == [Register("t", None)]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"FOO bar", b"E_INVALID invalid command FOO"),
        (b"", b"E_INVALID invalid command "),
        (b"ping", b"E_INVALID invalid command ping"),
        (b"F\xffO", b"E_INVALID invalid command F\xffO"),
        (b"REGISTER", b"E_INVALID REGISTER insufficient number of params"),
        (b"UNREGISTER ", b"E_INVALID UNREGISTER insufficient number of params"),
        (b"REGISTER bad!", b"E_BAD_TOPIC REGISTER topic name 'bad!' is not valid"),
        (b"REGISTER  t", b"E_BAD_TOPIC REGISTER topic name '' is not valid"),
        (b"REGISTER \xc3\xa9", b"E_BAD_TOPIC REGISTER topic name '\xc3\xa9' is not valid"),
        (b"UNREGISTER t bad!", b"E_BAD_CHANNEL UNREGISTER channel name 'bad!' is not valid"),
    ],
)
def test_line_that_is_refused(line: bytes, error: bytes) -> None:
    assert refusal(IDENTIFIED + line + b"\n") == error


@pytest.mark.parametrize("line", [b"REGISTER", b"UNREGISTER bad!"])
def test_registering_needs_identify_first_and_correct_words_later(line: bytes) -> None:
    assert refusal(MAGIC + line + b"\n") == b"E_INVALID client must IDENTIFY"


def test_nothing_is_parsed_after_a_violation() -> None:
    parser = RequestParser()
    assert len(parser.receive_data(MAGIC + b"FOO\nPING\n")) == 1
    assert parser.receive_data(b"PING\n") == []
    assert parser.receive_eof() == []


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_line_over_the_limit_is_refused_whether_it_ends_or_not(end: bytes) -> None:
    limits = LookupLimits(line_bytes=8)
    assert parse(MAGIC + b"PING 678\n", limits) == [Ping()]
    error = b"E_INVALID line too long, more than 8 bytes"
    assert refusal(MAGIC + b"PING 6789" + end, limits) == error


def test_identify_over_the_limit_is_refused_before_its_body_arrives() -> None:
    data = MAGIC + b"IDENTIFY\n\x00\x00\x00\x09"
    error = b"E_INVALID IDENTIFY body too big 9 > 8"
    assert refusal(data, LookupLimits(identify_bytes=8)) == error


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def shape(requests: list[Request]) -> list[object]:
    """Requests in a form that compares: two errors are equal if they read the same."""
    return [r.error.line if isinstance(r, LookupViolation) else r for r in requests]


LINES = st.sampled_from(
    [
        PING,
        b"REGISTER t\n",
        b"REGISTER t c\r\n",
        b"UNREGISTER t c\n",
        b"REGISTER t bad!\n",
        b"FOO\n",
        encode_identify(NODE),
        b"IDENTIFY\n\x00\x00\x00\x02{}",
        b"IDENTIFY\n\xff\xff\xff\xff",
        b"x" * 40,
    ]
)
CUTS = st.lists(st.integers(0, 400), max_size=6)
LIMITS = LookupLimits(line_bytes=30, identify_bytes=200)


@given(st.lists(LINES, max_size=6), CUTS, st.booleans())
def test_result_does_not_depend_on_how_the_stream_is_cut(
    lines: list[bytes], cuts: list[int], identified: bool
) -> None:
    data = (IDENTIFIED if identified else MAGIC) + b"".join(lines)
    whole, cut = RequestParser(LIMITS), RequestParser(LIMITS)
    expected = whole.receive_data(data) + whole.receive_eof()
    actual: list[Request] = []
    for piece in in_pieces(data, cuts):
        actual += cut.receive_data(piece)
    actual += cut.receive_eof()
    assert shape(actual) == shape(expected)


@given(st.sampled_from([b"", MAGIC, MAGIC + b"IDENTIFY\n", IDENTIFIED]), st.binary(), CUTS)
def test_garbage_is_refused_and_never_raises(start: bytes, garbage: bytes, cuts: list[int]) -> None:
    parser = RequestParser(LIMITS)
    requests: list[Request] = []
    for piece in in_pieces(start + garbage, cuts):
        requests += parser.receive_data(piece)
    requests += parser.receive_eof()
    violations = [index for index, r in enumerate(requests) if isinstance(r, LookupViolation)]
    assert violations in ([], [len(requests) - 1])
    assert (parser.error is not None) == bool(violations)


# The client's side


def test_commands_have_the_bytes_that_nsqd_sends() -> None:
    assert encode_register("t") == b"REGISTER t\n"
    assert encode_register("t", "c#ephemeral") == b"REGISTER t c#ephemeral\n"
    assert encode_unregister("t") == b"UNREGISTER t\n"
    assert encode_unregister("t", "c") == b"UNREGISTER t c\n"
    assert encode_identify(NODE) == (
        b'IDENTIFY\n\x00\x00\x00\x8e{"broadcast_address":"10.1.1.1","hostname":"node1",'
        b'"http_port":4151,"tcp_port":4150,"topology_region":"","topology_zone":"",'
        b'"version":"1.3.0"}'
    )


def test_server_reads_what_the_client_writes() -> None:
    stream = IDENTIFIED + PING + encode_register("t", "c") + encode_unregister("t")
    expected = [LookupIdentify(NODE), Ping(), Register("t", "c"), Unregister("t", None)]
    assert parse(stream) == expected


@given(st.lists(st.binary(max_size=20), max_size=5), CUTS)
def test_client_reads_answers_however_they_are_cut(answers: list[bytes], cuts: list[int]) -> None:
    parser = AnswerParser()
    received: list[bytes] = []
    for piece in in_pieces(b"".join(map(encode_answer, answers)), cuts):
        received += parser.receive_data(piece)
    assert received == answers


def test_answer_over_the_limit_stops_the_client() -> None:
    parser = AnswerParser(max_bytes=2)
    assert parser.receive_data(OK_ANSWER + b"\x00\x00\x00\x03") == [b"OK"]
    assert parser.error is not None
    assert parser.receive_data(b"abc" + OK_ANSWER) == []


def test_answer_to_identify() -> None:
    info = DirectoryInfo("127.0.0.1", "host", 4161, 4160, "1.3.0")
    encoded = (
        b'{"broadcast_address":"127.0.0.1","hostname":"host","http_port":4161,'
        b'"tcp_port":4160,"version":"1.3.0"}'
    )
    assert info.encode() == encoded
    assert decode_directory_info(encoded) == info
    assert decode_directory_info(b"{}").broadcast_address == ""


@pytest.mark.parametrize("answer", [b"E_INVALID", b"", b"OK", b"[]", b'{"http_port":"x"}', b"\xff"])
def test_answer_to_identify_that_is_no_information(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_directory_info(answer)
