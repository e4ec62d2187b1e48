"""The replay engine itself: a comparison that accepts everything would make every suite green."""

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support import transcripts
from tests.support.placeholders import Placeholders
from tests.support.replay_connection import Connection, Frame, Framing
from tests.support.transcripts import GOLDEN, Case, Difference, Target, escape, load_cases, replay

SUITES = sorted(path.stem for path in GOLDEN.glob("*.json"))
ID, OTHER_ID = "0123456789abcdef", "fedcba9876543210"


def agrees(expected: Any, actual: Any, **known: str) -> bool:
    return Placeholders(known).difference(expected, actual) is None


# Placeholders


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("OK", "OK"),
        ("<NS>", time.time_ns()),
        ("<TS>", int(time.time())),
        ({"connected": "<NS>"}, {"connected": 5}),
        ({"version": "<VERSION>", "n": 1}, {"version": "1.3.0", "n": 1, "nsqx_version": "0.1.0"}),
        ("start_time <RFC3339>\n", "start_time 2026-11-24T06:18:18Z\n"),
        ("uptime <DURATION>", "uptime 1m2.513382007s"),
        ({"nodes": "<UNSTABLE>"}, {"nodes": None}),
        ({"node": "<UNSTABLE>"}, {"node": "n:1"}),
        ('<a href="/x">', '<a href="/x">'),
        ("<TOPIC>.log", "<TOPIC>.log"),
        ("<NSQD_HTTP_PORT>", 4151),
        ("got <NSQD_HTTP_PORT>!", "got 4151!"),
        ("<HOSTNAME>", socket.gethostname()),
    ],
    ids=lambda value: type(value).__name__,  # the same in each process
)
def test_what_agrees(expected: Any, actual: Any) -> None:
    assert agrees(expected, actual, NSQD_HTTP_PORT="4151")


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("OK", "OK\n"),
        (1, True),
        (1, 1.0),
        (0, None),
        ("<NS>", "now"),
        ("<NS>", True),
        ("<NS>", 123),
        ("<NS>", str(time.time_ns())),
        ("<TS>", time.time()),
        ("<TS>", time.time_ns()),
        ({"connected": "<NS>"}, {"connected": time.time_ns()}),
        ({"connected": "<NS>"}, {"connected": -1}),
        ("<N>", -1),
        ("<N>", 1.5),
        ({"nodes": "<UNSTABLE>"}, {"nodes": "n:1"}),
        ({"node": "<UNSTABLE>"}, {"node": None}),
        ("<NSQD_HTTP_PORT>", "4151"),
        ("<NSQD_HTTP_PORT>", 4152),
        ("<HOSTNAME>", "elsewhere.example"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}),
        ("a.c", "abc"),
    ],
    ids=lambda value: type(value).__name__,  # the same in each process
)
def test_what_differs(expected: Any, actual: Any) -> None:
    assert not agrees(expected, actual, NSQD_HTTP_PORT="4151")


def test_ids_are_bound_when_first_seen() -> None:
    values = Placeholders({})
    assert values.fill("FIN <MSGID1>\n") == "FIN <MSGID1>\n"
    assert values.difference("<MSGID1>", ID) is None
    assert values.fill("FIN <MSGID1>\n") == f"FIN {ID}\n"
    assert (
        values.difference("E_FIN_FAILED FIN <MSGID1> failed", f"E_FIN_FAILED FIN {ID} failed")
        is None
    )
    assert values.difference("<MSGID1>", OTHER_ID) is not None
    assert values.difference("<MSGID2>", OTHER_ID) is None


def test_comparison_that_fails_binds_nothing() -> None:
    values = Placeholders({})
    assert values.difference(["<MSGID1>", "x"], [ID, "y"]) is not None
    assert values.difference("<MSGID1>", OTHER_ID) is None


def test_lists_without_order() -> None:
    values = Placeholders({}, unordered={"clients"})
    expected = {"clients": [{"id": "a"}, {"id": "b"}, {"id": "b"}]}
    assert values.difference(expected, {"clients": [{"id": "b"}, {"id": "a"}, {"id": "b"}]}) is None
    twice_a = {"clients": [{"id": "a"}, {"id": "a"}, {"id": "b"}]}
    assert values.difference(expected, twice_a) is not None
    assert values.difference({"topics": [1, 2]}, {"topics": [2, 1]}) is not None


# Transcripts


@pytest.mark.parametrize("suite", SUITES)
def test_readable_bytes_are_the_exact_bytes(suite: str) -> None:
    for case in load_cases(suite):
        for event in case.events:
            if "send_b64" in event and "..." not in event["send"]:
                exact = base64.b64decode(event["send_b64"])
                assert transcripts._unescape(event["send"]) == exact
                assert escape(exact) == event["send"]


def test_listed_differences_are_about_events_that_exist() -> None:
    cases = {(case.suite, case.name): case for suite in SUITES for case in load_cases(suite)}
    for difference in transcripts.load_differences():
        case = cases[difference.suite, difference.case]
        assert 0 <= difference.event < len(case.events)
        assert difference.reason


# Replays, against a peer that answers from a script


@contextmanager
def peer(answers: bytes) -> Iterator[Target]:
    """Listen, and answer whatever comes with these bytes, then close."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answers)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Target({"NSQD_TCP": f"127.0.0.1:{listener.getsockname()[1]}"})
        finally:
            thread.join()


def frame(data: bytes, kind: int = 0) -> bytes:
    return (len(data) + 4).to_bytes(4, "big") + kind.to_bytes(4, "big") + data


def story(*events: dict[str, Any]) -> Case:
    return Case("nsqd_test", "story", None, [{"send": "PUB t\\x00"}, *events])


MESSAGE = time.time_ns().to_bytes(8, "big") + (2).to_bytes(2, "big") + ID.encode() + b"body\n"


def test_frames_as_recorded() -> None:
    with peer(frame(b"OK") + frame(b"E_BAD x", 1) + frame(MESSAGE, 2)) as target:
        replay(
            story(
                {"recv": "response", "data": "OK"},
                {"recv": "error", "data": "E_BAD x"},
                {
                    "recv": "message",
                    "timestamp": "<NS>",
                    "attempts": 2,
                    "id": "<MSGID1>",
                    "body": "body\n",
                },
                {"closed": True},
            ),
            target,
        )


@pytest.mark.parametrize(
    "recorded",
    [
        {"recv": "response", "data": "KO"},
        {"recv": "error", "data": "OK"},
        {"recv": "response", "json": {}},
        {"closed": True},
        {"silence_ms": 200},
        {"nosuch": 1},
    ],
)
def test_anything_else_than_recorded_fails(recorded: dict[str, Any]) -> None:
    with peer(frame(b"OK")) as target, pytest.raises((AssertionError, json.JSONDecodeError)):
        replay(story(recorded), target)


@pytest.mark.parametrize("recorded", [{"recv": "response", "data": "OK"}, {"open_after_ms": 100}])
def test_close_that_was_not_recorded_fails(recorded: dict[str, Any]) -> None:
    with peer(b"") as target, pytest.raises(AssertionError, match="closed"):
        replay(story(recorded), target)


def test_heartbeat_that_was_not_recorded_is_skipped() -> None:
    with peer(frame(b"_heartbeat_") + frame(b"OK")) as target:
        replay(story({"recv": "response", "data": "OK"}), target)


def listed(monkeypatch: pytest.MonkeyPatch, **about: Any) -> None:
    difference = Difference("nsqd_test", "story", 1, "a test", "record", **about)
    monkeypatch.setattr(transcripts, "load_differences", lambda: [difference])


def test_listed_difference_replaces_what_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, instead={"data": "KO"})
    with peer(frame(b"KO")) as target:
        replay(story({"recv": "response", "data": "OK"}), target)


def test_listed_difference_that_is_none_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch)
    with peer(frame(b"OK")) as target, pytest.raises(AssertionError, match="not needed"):
        replay(story({"recv": "response", "data": "OK"}), target)


def test_dropped_event_is_not_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, drop=True)
    with peer(frame(b"OK")) as target:
        replay(story({"silence_ms": 5000}, {"recv": "response", "data": "OK"}), target)


def test_handler_of_a_suite_takes_its_event() -> None:
    taken = []
    with peer(b"") as target:
        handlers = {"client": lambda run, event: taken.append(event["client"])}
        replay(story({"client": 1, "fact": 2}), target, handlers=handlers, ignored={"fact"})
    assert taken == [1]


# Upgrades


@contextmanager
def pair(layer: str) -> Iterator[tuple[Connection, Connection]]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours, theirs = (Connection(each, Framing.NSQD, tls) for each in socket.socketpair())
    for connection in (ours, theirs):
        connection.upgrade(layer)
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


@pytest.mark.parametrize("layer", ["snappy", "deflate"])
def test_compressed_layers_read_what_they_write(layer: str) -> None:
    with pair(layer) as (ours, theirs):
        ours.send(frame(b"a" * 100) + frame(b"b" * 200_000))
        assert theirs.receive(5) == Frame("response", b"a" * 100)
        assert theirs.receive(5).data == b"b" * 200_000


def test_snappy_chunks_that_are_not_compressed() -> None:
    plain = frame(b"OK")
    identifier = b"\xff\x06\x00\x00sNaPpY"
    chunk = b"\x01" + (len(plain) + 4).to_bytes(3, "little") + b"crc." + plain
    ours, theirs = socket.socketpair()
    with ours:
        connection = Connection(theirs, Framing.NSQD, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        connection.upgrade("snappy")
        ours.sendall(identifier + chunk)
        assert connection.receive(5) == Frame("response", b"OK")
        connection.close()
