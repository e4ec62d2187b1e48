"""Viewers that do not read: how much is held for them, and who makes room."""

import asyncio
from contextlib import AbstractContextManager

import aiohttp
import pytest
from aiohttp import web

from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from nsqx.admin.shown import unsent
from nsqx.admin.shown.unsent import SMALL_BYTES, VERSIONS_MAX, Unsent
from nsqx.admin.v2 import documents
from tests.support.fake_http import fake_http


class Viewers:
    """Viewers that got stuck; who gave up, in order."""

    def __init__(self, bytes_max: int) -> None:
        self.unsent = Unsent(bytes_max)
        self.gave_up: list[str] = []
        self._sending: list[AbstractContextManager[None]] = []

    def stuck(self, name: str, frame: bytes) -> AbstractContextManager[None]:
        who = name.partition("-")[0]
        sending = self.unsent.sending(frame, who, lambda: self.gave_up.append(name))
        sending.__enter__()
        self._sending.append(sending)
        return sending


def version(number: int, size: int = 1_000_000) -> bytes:
    return bytes([number]) * size


def test_one_version_is_held_once_however_many_wait() -> None:
    viewers = Viewers(10_000_000)
    newest = version(1)
    for number in range(100):
        viewers.stuck(f"crowd-{number}", newest)
    assert viewers.unsent.held_bytes == len(newest)
    assert viewers.gave_up == []


def test_who_has_most_of_those_that_wait_loses_the_one_that_waits_longest() -> None:
    viewers = Viewers(10_000_000)
    viewers.stuck("alice-1", version(0))
    for number in range(1, 31):
        viewers.stuck(f"crowd-{number}", version(number))
    viewers.stuck("bob-1", version(99))
    assert viewers.unsent.held_bytes <= 10_000_000
    assert viewers.gave_up == [f"crowd-{number}" for number in range(1, 23)]


def test_who_has_taken_it_counts_no_more() -> None:
    viewers = Viewers(10_000_000)
    for number in range(100):
        viewers.stuck("alice", version(number)).__exit__(None, None, None)
    assert (viewers.unsent.held_bytes, viewers.gave_up) == (0, [])


def test_small_frames_and_some_versions_of_a_large_document_are_let_pass() -> None:
    viewers = Viewers(1)
    for number in range(VERSIONS_MAX):
        viewers.stuck(f"user{number}", version(number))
    viewers.stuck("tiny", version(9, SMALL_BYTES))
    assert viewers.gave_up == []
    viewers.stuck("more", version(10))
    assert viewers.gave_up == ["user0"]


async def test_twelve_who_wait_for_one_version_as_events_hold_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight versions may wait however large they are; an event of one's own would be a version."""
    together = asyncio.Barrier(12)
    write, late = web.StreamResponse.write, 0

    async def write_late(stream: web.StreamResponse, data: bytes) -> None:
        nonlocal late
        if data.startswith(b"data: ") and late < 12:
            late += 1
            await together.wait()
        await write(stream, data)

    async def first_event(session: aiohttp.ClientSession) -> bytes:
        async with session.get("/api/v2/events?key=summary") as response:
            return await response.content.readline()

    monkeypatch.setattr(unsent, "SMALL_BYTES", 10)
    monkeypatch.setattr(documents, "Unsent", lambda: Unsent(1))
    monkeypatch.setattr(web.StreamResponse, "write", write_late)
    about = {"broadcast_address": "127.0.0.1", "tcp_port": 1, "http_port": 2}
    async with (
        fake_http({"/stats": {"topics": []}, "/info": about}) as nsqd,
        Admin(AdminOptions(http_address="127.0.0.1:0", nsqd_http_address=[nsqd.address])) as admin,
        aiohttp.ClientSession(f"http://{admin.http_address}") as session,
        asyncio.timeout(20),
    ):
        events = await asyncio.gather(*(first_event(session) for _ in range(12)))
    assert all(event.startswith(b'data: {"k":"summary"') for event in events)


def test_a_large_event_is_sent_in_pieces() -> None:
    envelope = b"x" * (2 * documents.PIECE_BYTES + 1)
    pieces = list(documents._event(envelope))
    assert b"".join(pieces) == b"data: %b\n\n" % envelope
    assert max(map(len, pieces)) == documents.PIECE_BYTES
