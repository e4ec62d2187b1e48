"""
The recorded answers of NSQ 1.3.0, judged by parser and negotiation alone.

A case's bytes go through a ``CommandParser`` with a stand-in for the broker that says yes to
everything. What it answers must be what was recorded, except what only a broker can know.
``send`` events are fed as sent, one byte at a time, and all at once.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from nsqx.protocol.command_parser import CommandParser, Limits
from nsqx.protocol.commands import (
    Auth,
    Close,
    Command,
    Identify,
    LineTooLongError,
    MultiPublish,
    Publish,
    Subscribe,
    Violation,
)
from nsqx.protocol.errors import FatalProtocolError
from nsqx.protocol.identify import Identified, IdentifyRequest, NegotiationOptions, negotiate
from tests.support.transcripts import Case, load_cases

VERSION = "1.3.0"
LIMITS = Limits(max_msg_size=1024, max_body_size=4096)
OPTIONS = NegotiationOptions(version=VERSION, tls=True)
# As the suite's "about" tells.
VARIANT_LIMITS = replace(LIMITS, max_rdy_count=10, max_req_timeout_ms=2000)
VARIANT_OPTIONS = NegotiationOptions(
    version=VERSION,
    max_rdy_count=10,
    max_heartbeat_interval_ms=5000,
    msg_timeout_ms=2000,
    max_msg_timeout_ms=3000,
    max_output_buffer_size=128,
    output_buffer_timeout_ms=60,
    min_output_buffer_timeout_ms=50,
    max_output_buffer_timeout_ms=100,
    max_deflate_level=3,
    snappy=False,
    deflate=False,
    topology_region="region1",
    topology_zone="zone1",
)

# Codes of errors that need a broker, or come from its state.
OF_THE_BROKER = ("E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED", "E_SUB_FAILED")
HEARTBEAT = "_heartbeat_"


class YesSayer:
    """A connection whose broker agrees to all that the protocol allows."""

    def __init__(self, limits: Limits, options: NegotiationOptions, *, tls_required: bool) -> None:
        self.parser = CommandParser(limits, tls_required=tls_required)
        self.options = options
        self.identified: Identified | None = None
        self.answers: list[bytes] = []
        self.closed = False

    def receive(self, data: bytes) -> None:
        self._execute(self.parser.receive_data(data))

    def receive_eof(self) -> None:
        self._execute(self.parser.receive_eof())

    def _execute(self, events: list[Command]) -> None:
        for event in events:
            if self.closed:
                return
            match event:
                case Subscribe() | Publish() | MultiPublish():
                    self.answers.append(b"OK")
                case Close():
                    self.answers.append(b"CLOSE_WAIT")
                case Violation(error):
                    self._fail(error)
                case LineTooLongError():
                    self.closed = True
                case Auth():
                    self._fail(FatalProtocolError("E_AUTH_DISABLED", "AUTH disabled"))
                case Identify(body):
                    self._identify(body)
                case _:
                    pass  # not answered

    def _identify(self, body: bytes) -> None:
        try:
            request = IdentifyRequest.decode(body)
            self.identified = negotiate(request, self.options, self.identified)
        except FatalProtocolError as exc:
            self._fail(exc)
            return
        self.answers.append(self.identified.answer)
        self.parser.heartbeats_enabled = self.identified.heartbeat_interval_ms is not None
        self.parser.tls_required &= not self.identified.tls
        self.answers += [b"OK"] * self.identified.tls
        self.answers += [b"OK"] * (self.identified.snappy or self.identified.deflate)
        self._execute(self.parser.resume())

    def _fail(self, error: FatalProtocolError) -> None:
        self.answers.append(error.line)
        self.closed = True


def sent_bytes(event: dict[str, Any]) -> bytes:
    if "send_b64" in event:
        return base64.b64decode(event["send_b64"])
    text: str = event["send"]
    if match := re.fullmatch(r"(.*)\.\.\.\((\d+) bytes in all\)", text, re.DOTALL):
        start = unescaped(match[1])
        return start.ljust(int(match[2]), start[-1:])
    return unescaped(re.sub(r"<MSGID\d+>", "0123456789abcdef", text))


def unescaped(text: str) -> bytes:
    return text.encode().decode("unicode_escape").encode("latin-1")


def recorded_answer(event: dict[str, Any]) -> bytes | None:
    """Return the data of a frame that the protocol alone decides, else None."""
    if "json" in event:
        answer = {**event["json"], "version": VERSION}
        return json.dumps(answer, separators=(",", ":")).encode()
    data: str | None = event.get("data")
    if event["recv"] == "message" or data is None or data == HEARTBEAT:
        return None
    if data.startswith(OF_THE_BROKER):
        return None
    return unescaped(data)


Cut = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def replay(connection: YesSayer, events: Iterable[dict[str, Any]], cut: Cut) -> list[bytes]:
    """Feed what was sent, and return what was recorded as answers to it."""
    recorded = []
    for event in events:
        if "send" in event:
            for piece in cut(sent_bytes(event)):
                connection.receive(piece)
        elif event.get("half_close"):
            connection.receive_eof()
        elif "recv" in event and (answer := recorded_answer(event)) is not None:
            recorded.append(answer)
    return recorded


def by_connection(case: Case) -> Iterator[list[dict[str, Any]]]:
    for name in dict.fromkeys(event.get("conn", "") for event in case.events):
        events = [event for event in case.events if event.get("conn", "") == name]
        answers = [str(event.get("data", "")) for event in events if "recv" in event]
        if not any(answer.startswith("E_SUB_FAILED") for answer in answers):
            yield events


def judged(suite: str) -> list[Any]:
    cases = [case for case in load_cases(suite) if any("send" in event for event in case.events)]
    return [pytest.param(case, id=case.name) for case in cases]


def check(case: Case, connect: Callable[[], YesSayer], cut: Cut) -> None:
    for events in by_connection(case):
        connection = connect()
        recorded = replay(connection, events, cut)
        assert connection.answers == recorded
        ended = any(event.get("closed") for event in events)
        if recorded and recorded[-1].startswith(b"E_"):
            assert ended
            assert connection.closed


@pytest.mark.parametrize("cut", [whole, bytewise])
@pytest.mark.parametrize("case", judged("nsqd_tcp"))
def test_answers_as_recorded(case: Case, cut: Cut) -> None:
    check(case, lambda: YesSayer(LIMITS, OPTIONS, tls_required=False), cut)


@pytest.mark.parametrize("cut", [whole, bytewise])
@pytest.mark.parametrize("case", judged("nsqd_tls_required"))
def test_answers_as_recorded_where_tls_is_required(case: Case, cut: Cut) -> None:
    check(case, lambda: YesSayer(LIMITS, OPTIONS, tls_required=True), cut)


@pytest.mark.parametrize("cut", [whole, bytewise])
@pytest.mark.parametrize("case", judged("nsqd_variants"))
def test_answers_as_recorded_with_other_limits(case: Case, cut: Cut) -> None:
    check(case, lambda: YesSayer(VARIANT_LIMITS, VARIANT_OPTIONS, tls_required=False), cut)


def test_most_of_the_recording_is_judged_here() -> None:
    assert len(judged("nsqd_tcp")) > 130
