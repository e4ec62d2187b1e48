"""IDENTIFY: Go's reading of the request, the checks in their order, and the answer's bytes."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from nsqx.protocol.errors import FatalProtocolError
from nsqx.protocol.identify import (
    Identified,
    IdentifyRequest,
    NegotiationOptions,
    negotiate,
)

OPTIONS = NegotiationOptions(version="1.3.0", tls=True)
DECODE_ERROR = b"E_BAD_BODY IDENTIFY failed to decode JSON body"


def refused(body: bytes) -> bytes:
    with pytest.raises(FatalProtocolError) as caught:
        negotiate(IdentifyRequest.decode(body), OPTIONS)
    return caught.value.line


def identified(current: Identified | None = None, /, **wishes: object) -> Identified:
    return negotiate(IdentifyRequest.decode(json.dumps(wishes).encode()), OPTIONS, current)


# Reading the request


def test_absent_null_and_unknown_fields() -> None:
    nothing = IdentifyRequest()
    assert IdentifyRequest.decode(b"{}") == nothing
    assert IdentifyRequest.decode(b"null") == nothing
    assert IdentifyRequest.decode(b" \t\r\n{} ") == nothing
    assert IdentifyRequest.decode(b'{"client_id":null,"short_id":"x","other":[1.5,{}]}') == nothing


def test_keys_match_without_regard_to_case_and_the_last_wins() -> None:
    request = IdentifyRequest.decode(
        '{"Client_ID":"a","CLIENT_ID":"b","client_id":null,"\u017fnappy":true,"ms\u212a":1}'.encode()
    )
    assert (request.client_id, request.snappy) == ("b", True)


def test_text_that_is_not_unicode_is_mended() -> None:
    request = IdentifyRequest.decode(b'{"client_id":"a\xff","hostname":"\\ud800x\\ud83c\\udf89"}')
    assert request.client_id == "a\ufffd"
    assert request.hostname == "\ufffdx🎉"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{not json",
        b"[]",
        b'"text"',
        b"5",
        b"{} x",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        b'{"client_id":5}',
        b'{"client_id":["a"]}',
        b'{"hostname":{}}',
        b'{"feature_negotiation":1}',
        b'{"snappy":"true"}',
        b'{"heartbeat_interval":1.5}',
        b'{"heartbeat_interval":1000.0}',
        b'{"heartbeat_interval":1e3}',
        b'{"heartbeat_interval":"1000"}',
        b'{"heartbeat_interval":true}',
        b'{"msg_timeout":9223372036854775808}',
        b'{"sample_rate":2147483648}',
        b'{"sample_rate":-2147483649}',
        b'{"other":NaN}',
        b'{"other":-Infinity}',
        b'{"client_id":"line\nbreak"}',
        b'{"client_id":5,"client_id":"a"}',
        b"[" * 100_000,
        b'{"other":' + b"1" * 5000 + b"}",
    ],
)
def test_what_does_not_decode(body: bytes) -> None:
    assert refused(body) == DECODE_ERROR


def outcome(body: bytes) -> bytes:
    try:
        negotiate(IdentifyRequest.decode(body), OPTIONS)
    except FatalProtocolError as exc:
        return exc.line
    return b"accepted"


@given(st.one_of(st.binary(), st.text().map(str.encode), st.just(b'{"a":')))
def test_no_body_raises_anything_else(body: bytes) -> None:
    assert outcome(body) in {b"accepted", DECODE_ERROR}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(IdentifyRequest.__slots__) | st.text(), json_values))
def test_any_object_is_accepted_or_refused_with_an_error_of_nsq(wishes: dict[str, object]) -> None:
    line = outcome(json.dumps(wishes).encode())
    assert line.split()[0] in {b"accepted", b"E_BAD_BODY", b"E_IDENTIFY_FAILED"}


def test_a_request_that_a_client_wrote_is_read_back() -> None:
    request = IdentifyRequest(
        client_id="c", hostname="h", feature_negotiation=True, deflate_level=3, sample_rate=5
    )
    assert IdentifyRequest.decode(request.encode()) == request


# Negotiating


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"heartbeat_interval":999}', b"heartbeat interval (999) is invalid"),
        (b'{"heartbeat_interval":60001}', b"heartbeat interval (60001) is invalid"),
        (b'{"heartbeat_interval":-2}', b"heartbeat interval (-2) is invalid"),
        (b'{"output_buffer_timeout":24}', b"output buffer timeout (24) is invalid"),
        (b'{"output_buffer_timeout":30001}', b"output buffer timeout (30001) is invalid"),
        (b'{"output_buffer_size":63}', b"output buffer size (63) is invalid"),
        (b'{"output_buffer_size":65537}', b"output buffer size (65537) is invalid"),
        (b'{"sample_rate":-1}', b"sample rate (-1) is invalid"),
        (b'{"sample_rate":100}', b"sample rate (100) is invalid"),
        (b'{"msg_timeout":999}', b"msg timeout (999) is invalid"),
        (b'{"msg_timeout":900001}', b"msg timeout (900001) is invalid"),
        (b'{"msg_timeout":-1}', b"msg timeout (-1) is invalid"),
    ],
)
def test_values_out_of_range(body: bytes, line: bytes) -> None:
    assert refused(body) == b"E_BAD_BODY IDENTIFY " + line


def test_the_first_wrong_value_in_the_order_of_nsqd_is_named() -> None:
    wrong = {
        "msg_timeout": 1,
        "sample_rate": 100,
        "output_buffer_size": 1,
        "output_buffer_timeout": 1,
        "heartbeat_interval": 1,
    }
    named = []
    while wrong:
        named.append(refused(json.dumps(wrong).encode()).split(b" (")[0][20:])
        wrong.popitem()
    assert named == [
        b"heartbeat interval",
        b"output buffer timeout",
        b"output buffer size",
        b"sample rate",
        b"msg timeout",
    ]


def test_limits_are_inclusive() -> None:
    high = identified(
        heartbeat_interval=60_000,
        output_buffer_size=65_536,
        output_buffer_timeout=30_000,
        sample_rate=99,
        msg_timeout=900_000,
    )
    assert high == Identified(
        60_000, 65_536, 30_000, 900_000, asked_msg_timeout=True, sample_rate=99
    )
    low = identified(
        heartbeat_interval=1000,
        output_buffer_size=64,
        output_buffer_timeout=25,
        sample_rate=0,
        msg_timeout=1000,
    )
    assert low == Identified(1000, 64, 25, 1000, asked_msg_timeout=True)


def test_zero_keeps_what_holds() -> None:
    assert identified() == Identified.without(OPTIONS) == Identified(30_000, 16_384, 250, 60_000)
    before = identified(heartbeat_interval=2000, output_buffer_size=-1, msg_timeout=5000)
    assert identified(before) == before
    without_heartbeats = identified(before, heartbeat_interval=-1)
    assert without_heartbeats.heartbeat_interval_ms is None
    assert identified(without_heartbeats).heartbeat_interval_ms is None


def test_no_buffer_means_no_timed_flush_either() -> None:
    off = identified(output_buffer_size=-1, output_buffer_timeout=1000)
    assert (off.output_buffer_size, off.output_buffer_timeout_ms) == (1, 0)
    timeout_off = identified(output_buffer_timeout=-1)
    assert (timeout_off.output_buffer_size, timeout_off.output_buffer_timeout_ms) == (16_384, 0)


def test_without_negotiation_nothing_is_granted() -> None:
    plain = identified(tls_v1=True, snappy=True, deflate=True)
    assert (plain.tls, plain.snappy, plain.deflate, plain.answer) == (False, False, False, b"OK")


def test_what_is_not_offered_is_not_granted() -> None:
    request = IdentifyRequest(feature_negotiation=True, tls_v1=True, snappy=True, deflate=True)
    granted = negotiate(request, NegotiationOptions(tls=False, snappy=False, deflate=False))
    assert (granted.tls, granted.snappy, granted.deflate) == (False, False, False)
    granted = negotiate(request, NegotiationOptions(tls=True, snappy=False))
    assert (granted.tls, granted.snappy, granted.deflate) == (True, False, True)


def test_both_compressions_are_too_much() -> None:
    body = b'{"feature_negotiation":true,"snappy":true,"deflate":true}'
    expected = b"E_IDENTIFY_FAILED cannot enable both deflate and snappy compression"
    assert refused(body) == expected


@pytest.mark.parametrize(
    ("deflate", "wanted", "level"),
    [
        (True, 0, 6),
        (True, -1, 6),
        (True, 1, 1),
        (True, 6, 6),
        (True, 9, 6),
        (False, 2, 6),
    ],
)
def test_levels_of_deflate(deflate: bool, wanted: int, level: int) -> None:
    result = identified(feature_negotiation=True, deflate=deflate, deflate_level=wanted)
    assert result.deflate_level == level


def test_the_largest_level_also_cuts_the_default() -> None:
    request = IdentifyRequest(feature_negotiation=True)
    options = replace(OPTIONS, max_deflate_level=3)
    assert negotiate(request, options).deflate_level == 3


def test_the_answer_byte_by_byte() -> None:
    request = IdentifyRequest(feature_negotiation=True, tls_v1=True, sample_rate=42)
    options = replace(OPTIONS, topology_region="r&<1>", topology_zone="zürich")
    assert negotiate(request, options).answer == (
        b'{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,'
        b'"tls_v1":true,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,'
        b'"sample_rate":42,"auth_required":false,"output_buffer_size":16384,'
        b'"output_buffer_timeout":250,"topology_region":"r\\u0026\\u003c1\\u003e",'
        b'"topology_zone":"z\xc3\xbcrich"}'
    )


def test_what_a_client_says_about_itself_is_cut() -> None:
    request = IdentifyRequest.decode(
        json.dumps({"client_id": "a" * 5000, "user_agent": "\u20ac" * 100}).encode()
    )
    assert request.client_id == "a" * 256
    assert request.user_agent == "\u20ac" * 85  # 255 bytes: no character is halved


def test_who_asks_is_told_what_nsq_does_not_have() -> None:
    request = IdentifyRequest(feature_negotiation=True, nsqx_extensions=True)
    options = NegotiationOptions(max_msg_size=10, max_body_size=50, http_port=4151)
    granted = negotiate(request, options)
    assert granted.extensions
    assert json.loads(granted.answer)["nsqx_extensions"] == {
        "return": True,
        "max_msg_size": 10,
        "max_body_size": 50,
        "max_req_timeout": 3_600_000,
        "http_port": 4151,
    }
    silent = negotiate(IdentifyRequest(feature_negotiation=True), options)
    assert not silent.extensions
    assert b"nsqx" not in silent.answer
