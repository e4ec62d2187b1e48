r"""
Replays golden transcripts, recorded from NSQ 1.3.0, against a running daemon.

``tests/golden/<suite>.json`` holds cases, each a story of events told in order. A test module of a
suite starts its daemon once, with the flags that the suite's ``about`` tells, and replays each
case as a test of its own, in the given order (``tests/lookupd/test_golden.py`` is an example)::

    pytestmark = pytest.mark.asyncio(loop_scope="module")

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def target(tmp_path_factory) -> AsyncIterator[Target]:
        async with running_cluster(tmp_path_factory.mktemp("golden")) as cluster:
            nsqd = await cluster.nsqd("--max-msg-size=1024")
            yield Target({"NSQD_TCP": nsqd.tcp_address, "NSQD_HTTP": nsqd.http_address})

    @pytest.mark.parametrize("case", case_params("nsqd_http"))
    async def test_http(case: Case, target: Target) -> None:
        await asyncio.to_thread(replay, case, target)

The engine blocks, with sockets of its own: hence the thread, so that the loop can go on reading
what the daemon logs, or run the daemon itself.

Events
    http           sent as recorded, and the answer compared: status, the headers that were
                   recorded, ``body`` exactly, ``json`` with the order of its keys. A GET is
                   repeated for a while until it agrees: counters settle after the fact.
    send           the exact bytes (``send_b64``), or the readable form with ids put in.
    recv           the next frame. A heartbeat that was not recorded is answered and skipped.
    closed         the peer closes, and sends nothing before that.
    silence_ms, open_after_ms    nothing comes, and the connection stays open.
    upgrade, half_close, disconnect, wait_ms    done.
    conn           names the connection that the event is about; opened when first used.
    note, why      for the reader.

A connection is opened by its first event, and its magic is a ``send`` like any other. Below an
``upgrade`` the plain bytes are recorded, and the engine encodes them.

Any other key is specific to a suite. Give ``replay`` a handler for it::

    def expect_producers(run: Replay, event: Event) -> None:
        run.expect(event["producers"], run.get_json("/stats?format=json")["producers"])

    replay(case, target, handlers={"producers": expect_producers})

The handler of the first key (in the order recorded) that has one takes the whole event. Keys in
``ignored`` need none: facts that the recorder computed, such as durations.

Placeholders are explained in ``tests/support/placeholders.py``. A target's addresses are known as
``<NAME>``, and their ports as ``<NAME_PORT>``.

Deliberate differences are listed in ``tests/golden/differences.toml``, see there.
"""

import base64
import gzip
import http.client
import json
import re
import socket
import ssl
import time
import tomllib
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import pytest

from tests.support.placeholders import Placeholders
from tests.support.replay_connection import Closed, Connection, Frame, Framing

__all__ = [
    "Case",
    "Difference",
    "Event",
    "Handler",
    "Replay",
    "Target",
    "case_params",
    "forget_topics",
    "load_cases",
    "load_differences",
    "replay",
]

GOLDEN = Path(__file__).parent.parent / "golden"
ROOT = GOLDEN.parent.parent

RECEIVE_SECONDS_MAX = 10.0
CLOSE_SECONDS_MAX = 10.0
SETTLE_SECONDS_MAX = 3.0
SETTLE_POLL_SECONDS = 0.02
HEARTBEAT = b"_heartbeat_"
MESSAGE_HEADER_BYTES = 26  # timestamp, attempts, id

# The only headers that the recording kept: if one is not in an event, it was not in the answer.
# Content-Length is there only where the body has always the same length.
HEADERS_KEPT = (
    "content-type",
    "x-nsq-content-type",
    "allow",
    "location",
    "content-encoding",
    "vary",
)

Event: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[["Replay", Event], None]

DROPPED = "<DROPPED>"  # for a body that was not kept: ours is one of these, by path or type
_DROPPED_BODIES = {
    "/debug/pprof/cmdline": r"[^\0\n]+(?:\0[^\0\n]*)*",
    "/debug/pprof/heap": r"heap_objects: \d+\n.*\ngeneration 2: .*\n +\d+ \w+\n",
    "/debug/pprof/goroutine": r"thread .*\nthread MainThread\n  File .*\nStack for <Task .*",
    "/debug/pprof/block": r"[^\n]* has no such profile\n",
    "/debug/pprof/threadcreate": r"(?:[^\n]+\n)*MainThread\n(?:[^\n]+\n)*",
    "text/html": r'<!doctype html>\n<html lang="en" data-base="<BASE>" data-static="<BASE>static/'
    r".*<title>nsqx</title>.*<script .*</html>\s*",
    "text/css": r"(?:/\*.*?\*/\s*)?:root \{.*\}\s*",
    "text/javascript": r"\s*import \{.*",
    "image/svg+xml": r"<svg [^>]*>.*</svg>\s*",
}

_COMMENTS = {"note", "why", "conn"}


# --- cases ---


@dataclass(frozen=True, slots=True)
class Case:
    """One story of a suite."""

    suite: str
    name: str
    note: str | None
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Difference:
    """One event that nsqx deliberately answers differently."""

    suite: str
    case: str
    event: int
    reason: str
    record: str
    instead: Event | None = None
    drop: bool = False


def load_cases(suite: str) -> list[Case]:
    """Return the cases of a suite in the order recorded."""
    content = json.loads((GOLDEN / f"{suite}.json").read_text())
    return [
        Case(suite, case["name"], case.get("note"), case["events"]) for case in content["cases"]
    ]


def case_params(
    suite: str, *, marks: Mapping[str, pytest.MarkDecorator] | None = None
) -> list[Any]:
    """Return the cases as parameters with readable ids. ``marks`` are by case name."""
    return [
        pytest.param(
            case,
            id=case.name.replace(" ", "_"),
            marks=[marks[case.name]] if marks and case.name in marks else [],
        )
        for case in load_cases(suite)
    ]


def load_differences() -> list[Difference]:
    """Return all deliberate differences, checked to be about something that exists."""
    content = tomllib.loads((GOLDEN / "differences.toml").read_text())
    differences = []
    for entry in content.get("difference", []):
        instead = entry.pop("instead", None)
        difference = Difference(instead=json.loads(instead) if instead else None, **entry)
        assert (ROOT / difference.record).is_file(), f"no such record: {difference.record}"
        differences.append(difference)
    return differences


def load_needs() -> dict[str, dict[str, list[str]]]:
    """Return, by suite and case, the cases whose outcome the recorder left lying about for it."""
    needs: dict[str, dict[str, list[str]]] = tomllib.loads((GOLDEN / "needs.toml").read_text())
    return needs


# --- targets ---


def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True)
class Target:
    """
    The daemons of a suite, and which of them an event means when it names none.

    Args:
        addresses: ``{"NSQD_TCP": "127.0.0.1:4150", ..}``, by the names in the transcripts.
        tcp: the name of the daemon that events connect to.
        http: the name of the daemon that requests go to.
        values: further placeholders of this run.
        tls: for ``upgrade`` and https; by default any certificate is taken.
        forgets: each case begins without topics. Otherwise it has a daemon of its own, or begins by
            forgetting what it must.
    """

    addresses: Mapping[str, str]
    tcp: str = "NSQD_TCP"
    http: str = "NSQD_HTTP"
    values: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext = field(default_factory=_any_certificate)
    forgets: bool = False

    def known(self) -> dict[str, str]:
        """Return what placeholders stand for."""
        ports = {f"{name}_PORT": _split(address)[1] for name, address in self.addresses.items()}
        texts = {name: str(port) for name, port in ports.items()}
        return {**self.addresses, **texts, **self.values}


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


# --- replaying ---


def replay(
    case: Case,
    target: Target,
    *,
    handlers: Mapping[str, Handler] | None = None,
    ignored: Collection[str] = (),
) -> None:
    """
    Carry out the events of a case in order and compare what comes back.

    Raises:
        AssertionError: an answer differs from what was recorded and no difference was listed.
    """
    if target.forgets:
        forget_topics(target)
    for name in load_needs().get(case.suite, {}).get(case.name, []):
        earlier = next(each for each in load_cases(case.suite) if each.name == name)
        _play(earlier, target, handlers, ignored)
    _play(case, target, handlers, ignored)


def forget_topics(target: Target) -> None:
    """Delete every topic of the target: what earlier cases left, or the recorder had not yet."""
    asking = Replay(Case("", "forget", None, []), target)
    if target.http.startswith("LOOKUPD"):
        topics = asking.get_json("/topics")["topics"]
    else:
        topics = [each["topic_name"] for each in asking.get_json("/stats?format=json")["topics"]]
    for topic in topics:
        asking.request({"method": "POST", "path": f"/topic/delete?topic={quote(topic)}"})


def _play(
    case: Case,
    target: Target,
    handlers: Mapping[str, Handler] | None,
    ignored: Collection[str],
) -> None:
    run = Replay(case, target, handlers=handlers, ignored=ignored)
    differences = {
        difference.event: difference
        for difference in load_differences()
        if (difference.suite, difference.case) == (case.suite, case.name)
    }
    assert all(index < len(case.events) for index in differences), "a difference of no event"
    with run.closing():
        for index, event in enumerate(case.events):
            _carry_out(run, index, event, differences.get(index))


def _carry_out(run: "Replay", index: int, event: Event, difference: Difference | None) -> None:
    if difference is not None and difference.drop:
        return
    if difference is not None and difference.instead is not None:
        event = {**event, **difference.instead}
    try:
        run.execute(event)
    except AssertionError as exc:
        if difference is not None and difference.instead is None:
            return
        story = run.case.note or ""
        raise AssertionError(
            f"{run.case.suite}/{run.case.name} event {index}: {exc}\n"
            f"  event: {json.dumps(event)[:2000]}\n  note: {story}"
        ) from exc
    if difference is not None and difference.instead is None:
        raise AssertionError(f"event {index} agrees with the recording: difference not needed")


class Replay:
    """One case under way: its connections and the values bound so far. For handlers."""

    def __init__(
        self,
        case: Case,
        target: Target,
        *,
        handlers: Mapping[str, Handler] | None = None,
        ignored: Collection[str] = (),
    ) -> None:
        self.case = case
        self.target = target
        self.values = Placeholders(target.known(), _unordered_keys(case.suite))
        self._handlers: dict[str, Handler] = {**_HANDLERS, **(handlers or {})}
        self._ignored = _COMMENTS | set(ignored)
        self._framing = Framing.LOOKUPD if case.suite.startswith("lookupd") else Framing.NSQD
        self._connections: dict[str, Connection] = {}

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Close all connections at the end."""
        try:
            yield
        finally:
            for connection in self._connections.values():
                connection.close()

    def execute(self, event: Event) -> None:
        """Carry out one event."""
        keys = [key for key in event if key not in self._ignored]
        handler = next((self._handlers[key] for key in keys if key in self._handlers), None)
        assert handler is not None or not keys, f"no handler for any of {keys}"
        if handler is not None:
            handler(self, event)

    def expect(self, expected: Any, actual: Any) -> None:
        """Compare with what was recorded; binds ids."""
        difference = self.values.difference(expected, actual)
        assert difference is None, difference

    def connection(self, event: Event) -> Connection:
        """Return the connection that an event is about; open it if it is new."""
        name = event.get("conn", "")
        connection = self._connections.get(name)
        if connection is None:
            address = _split(self.target.addresses[self.target.tcp])
            connected = socket.create_connection(address, timeout=10)
            connection = Connection(connected, self._framing, self.target.tls)
            self._connections[name] = connection
        return connection

    def request(self, spec: Mapping[str, Any]) -> "Answer":
        """Send the request of an ``http`` event, or ``{"method": .., "path": ..}``."""
        return _request(self, spec)

    def get_json(self, path: str) -> Any:
        """Return the decoded answer of a GET at the target's default daemon."""
        return json.loads(self.request({"method": "GET", "path": path}).body)

    def next_frame(self, event: Event, seconds_max: float, *, heartbeats: bool = False) -> Frame:
        """
        Return the next frame; heartbeats are answered and skipped unless they are wanted.

        Raises:
            TimeoutError, Closed: as :meth:`Connection.receive`.
        """
        connection = self.connection(event)
        deadline = time.monotonic() + seconds_max
        while True:
            frame = connection.receive(deadline - time.monotonic())
            if heartbeats or frame != Frame("response", HEARTBEAT):
                return frame
            connection.send(b"NOP\n")


def _unordered_keys(suite: str) -> frozenset[str] | None:
    """Return the lists that NSQ gives in random order; None: all of them."""
    if suite.startswith("nsqd"):
        return frozenset({"clients", "producers"})
    return None


# --- events on a connection ---


# Bytes that are not shown in full: "PUB t\n\x00\x00\x04\x00aaaa...(1035 bytes in all)".
_CUT_SHORT = re.compile(r"(.*?)(.)\2*\.\.\.\((\d+) bytes in all\)", re.DOTALL)


def _send(run: Replay, event: Event) -> None:
    if "send_b64" in event:
        data = base64.b64decode(event["send_b64"])
    elif (cut := _CUT_SHORT.fullmatch(event["send"])) is not None:
        start = _unescape(run.values.fill(cut[1]))
        data = start.ljust(int(cut[3]), cut[2].encode())
    else:
        data = _unescape(run.values.fill(event["send"]))
    run.connection(event).send(data)


def _receive(run: Replay, event: Event) -> None:
    wants_heartbeat = event.get("data") == HEARTBEAT.decode()
    try:
        frame = run.next_frame(event, RECEIVE_SECONDS_MAX, heartbeats=wants_heartbeat)
    except TimeoutError:
        raise AssertionError(f"no frame in {RECEIVE_SECONDS_MAX} s") from None
    except Closed:
        raise AssertionError("closed, but a frame was recorded") from None
    assert frame.kind == event["recv"], f"got {frame}"
    if frame.kind == "message":
        _expect_message(run, event, frame.data)
    elif "json" in event:
        run.expect(event["json"], json.loads(frame.data))
    else:
        run.expect(event["data"], escape(frame.data))


def _expect_message(run: Replay, event: Event, data: bytes) -> None:
    message = {
        "timestamp": int.from_bytes(data[:8], "big"),
        "attempts": int.from_bytes(data[8:10], "big"),
        "id": data[10:MESSAGE_HEADER_BYTES].decode("latin-1"),
        "body": escape(data[MESSAGE_HEADER_BYTES:]),
    }
    for key, value in message.items():
        if key in event:
            run.expect(event[key], value)


def _expect_closed(run: Replay, event: Event) -> None:
    deadline = time.monotonic() + CLOSE_SECONDS_MAX
    try:
        frame = run.connection(event).receive(CLOSE_SECONDS_MAX)
        while frame == Frame("response", HEARTBEAT):  # not answered: that would keep it open
            frame = run.connection(event).receive(deadline - time.monotonic())
    except Closed:
        return
    except TimeoutError:
        raise AssertionError(f"still open after {CLOSE_SECONDS_MAX} s") from None
    raise AssertionError(f"got {frame} before it closed")


def _expect_silence(run: Replay, event: Event) -> None:
    milliseconds = event["silence_ms"] if "silence_ms" in event else event["open_after_ms"]
    try:
        frame = run.next_frame(event, milliseconds / 1000)
    except TimeoutError:
        return
    except Closed:
        raise AssertionError("closed, but was recorded open and silent") from None
    raise AssertionError(f"got {frame}, recorded silence")


def _upgrade(run: Replay, event: Event) -> None:
    run.connection(event).upgrade(event["upgrade"])


def _half_close(run: Replay, event: Event) -> None:
    run.connection(event).half_close()


def _disconnect(run: Replay, event: Event) -> None:
    run.connection(event).close()


def _wait(run: Replay, event: Event) -> None:
    time.sleep(event["wait_ms"] / 1000)  # what is recorded is how time passes


# --- HTTP events ---


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names in lower case, the body as text after decompression."""

    status: int
    headers: Mapping[str, str]
    body: str


def _http(run: Replay, event: Event) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        try:
            path = event["http"]["path"].partition("?")[0]
            _expect_answer(run, path, event["response"], run.request(event["http"]))
        except AssertionError:
            if event["http"]["method"] != "GET" or time.monotonic() > deadline:
                raise
            time.sleep(SETTLE_POLL_SECONDS)
        else:
            return


def _expect_answer(run: Replay, path: str, expected: Mapping[str, Any], answer: Answer) -> None:
    assert answer.status == expected["status"], f"{answer}, recorded {expected['status']}"
    _expect_headers(run, expected.get("headers", {}), answer.headers)
    if "body_matches" in expected:
        assert re.search(expected["body_matches"], answer.body), answer.body[:500]
    if expected.get("body") == DROPPED:
        kind = answer.headers["content-type"].partition(";")[0]
        shape = _DROPPED_BODIES.get(path) or _DROPPED_BODIES[kind]
        shape = shape.replace("<BASE>", "/nsq/" if path.startswith("/nsq") else "/")
        assert re.fullmatch(shape, answer.body, re.DOTALL), answer.body[:500]
    elif "body" in expected:
        run.expect(expected["body"], answer.body)
    if "json" in expected:
        run.expect(expected["json"], json.loads(answer.body))


def _expect_headers(run: Replay, recorded: Mapping[str, str], actual: Mapping[str, str]) -> None:
    expected = {name.lower(): value for name, value in recorded.items()}
    for name in (*HEADERS_KEPT, *({"content-length"} & expected.keys())):
        difference = run.values.difference(expected.get(name, ""), actual.get(name, ""))
        assert difference is None, f"header {name}: {difference}"


def _request(run: Replay, spec: Mapping[str, Any]) -> Answer:
    name = spec.get("to", f"<{run.target.http}>")
    host, port = _split(run.values.fill(name))
    connection: http.client.HTTPConnection
    if spec.get("https"):
        connection = http.client.HTTPSConnection(host, port, timeout=30, context=run.target.tls)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        _send_request(connection, run, spec)
        return _read_answer(connection.getresponse())
    finally:
        connection.close()


def _send_request(
    connection: http.client.HTTPConnection, run: Replay, spec: Mapping[str, Any]
) -> None:
    path = run.values.fill(spec["path"])
    body = _request_body(run, spec)
    connection.putrequest(spec["method"], path, skip_accept_encoding=True)
    for key, value in spec.get("headers", {}).items():
        connection.putheader(key, run.values.fill(value))
    if spec.get("chunked"):
        connection.putheader("Transfer-Encoding", "chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    elif body or spec["method"] in ("POST", "PUT"):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    # Refused by its size: the answer is there all the same.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.send(body)


def _request_body(run: Replay, spec: Mapping[str, Any]) -> bytes:
    if "body_b64" in spec:
        return base64.b64decode(spec["body_b64"])
    if "body_repeat" in spec:
        char, count = spec["body_repeat"]
        return str(char).encode() * int(count)
    return _unescape(run.values.fill(spec.get("body", "")))


def _read_answer(response: http.client.HTTPResponse) -> Answer:
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    encoding = headers.get("content-encoding")
    if encoding == "gzip":
        body = gzip.decompress(body)
    elif encoding == "deflate":  # without zlib's header, as NSQ sends it
        body = zlib.decompress(body, -zlib.MAX_WBITS)
    return Answer(response.status, headers, body.decode(errors="surrogateescape"))


_HANDLERS: dict[str, Handler] = {
    "http": _http,
    "send": _send,
    "recv": _receive,
    "closed": _expect_closed,
    "silence_ms": _expect_silence,
    "open_after_ms": _expect_silence,
    "upgrade": _upgrade,
    "half_close": _half_close,
    "disconnect": _disconnect,
    "wait_ms": _wait,
}


# --- readable bytes ---


def escape(data: bytes) -> str:
    r"""Return bytes as transcripts show them: printable ASCII and newlines, else ``\xNN``."""
    return "".join(map(_readable, data))


def _readable(byte: int) -> str:
    char = chr(byte)
    if char == "\\":
        return r"\\"
    if char == "\r":
        return r"\r"
    return char if char == "\n" or " " <= char <= "~" else f"\\x{byte:02x}"


def _unescape(text: str) -> bytes:
    def byte_of(match: re.Match[str]) -> str:
        return {r"\\": "\\", r"\r": "\r"}.get(match[0]) or chr(int(match[0][2:], 16))

    return re.sub(r"\\(?:\\|r|x[0-9a-f]{2})", byte_of, text).encode("latin-1")
