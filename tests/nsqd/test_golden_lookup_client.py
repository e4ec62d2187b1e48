"""
What NSQ 1.3.0's nsqd said to an nsqlookupd, and asked it.

The nsqlookupd is a scripted one. Pings come at any moment of a story, and are compared only where
the story is about them; so that it does not take half a minute, they come more often here.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from nsqx.nsqd.daemon import Nsqd
from nsqx.nsqd.directory.lookup_peer import Timing
from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol.version import VERSION
from tests.support.scripted_lookupd import Heard, ScriptedLookupd
from tests.support.transcripts import Case, Event, Replay, Target, case_params, replay

pytestmark = pytest.mark.asyncio(loop_scope="module")

PING = {"command": "PING\n"}


class Recording:
    """The scripted nsqlookupd as a replay sees it, from its thread: what came since it looked."""

    def __init__(self, lookupd: ScriptedLookupd, loop: asyncio.AbstractEventLoop) -> None:
        self._lookupd = lookupd
        self._loop = loop
        self._seen, self._queries_seen = len(self._events()), 0

    async def settle(self) -> None:
        """Leave out what the story before set going: its last commands come before two pings."""
        enough = self._lookupd.heard_all.count(PING) + 2

        def has_told_all() -> bool:
            is_connected = self._lookupd.is_connected
            return not is_connected or self._lookupd.heard_all.count(PING) >= enough

        await self._lookupd.until(has_told_all, "all was told")
        self._seen, self._queries_seen = len(self._events()), len(self._lookupd.queries)

    def wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def expect_in_order(self, run: Replay, event: Event) -> None:
        run.expect(event["from_nsqd"], self._take(event["from_nsqd"]))

    def expect_in_any_order(self, run: Replay, event: Event) -> None:
        expected = event["from_nsqd_any_order"]
        run.expect(sorted(expected, key=_text), sorted(self._take(expected), key=_text))

    def expect_queries(self, run: Replay, event: Event) -> None:
        count = self._queries_seen + len(event["http_queries"])
        queries = self._lookupd.queries
        self.wait(self._lookupd.until(lambda: len(queries) >= count, f"{count} queries"))
        seen, self._queries_seen = self._queries_seen, len(queries)
        run.expect(event["http_queries"], queries[seen:])

    def expect_interval(self, run: Replay, event: Event) -> None:
        run.expect(event["seconds_between_pings"], int(Timing().ping_s))

    def _take(self, expected: list[Heard]) -> list[Heard]:
        """Wait for as many events as are expected; return all that came."""
        if expected == [PING]:
            pings = self._lookupd.heard_all.count(PING)
            self.wait(self._lookupd.heard("PING\n", pings + 1))
            return [PING]
        count = self._seen + len(expected)
        self.wait(self._lookupd.until(lambda: len(self._events()) >= count, f"{expected}"))
        seen, self._seen = self._seen, len(self._events())
        return self._events()[seen:]

    def _events(self) -> list[Heard]:
        return [_without_ours(heard) for heard in self._lookupd.heard_all if heard != PING]


def _without_ours(heard: Heard) -> Heard:
    """Leave out the one field that NSQ has not: it is the last, and what it should be."""
    if heard.get("command") != "IDENTIFY\n":
        return heard
    *order, ours = heard["key_order"]
    assert (ours, heard["body"][ours]) == ("nsqx_version", VERSION)
    return {**heard, "key_order": order}


def _text(heard: Heard) -> str:
    return str(heard.get("command", heard.get("magic")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lookupd() -> AsyncIterator[ScriptedLookupd]:
    async with ScriptedLookupd() as lookupd:
        lookupd.channels["tl_a"] = ["c1", "e#ephemeral"]
        yield lookupd


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(
    lookupd: ScriptedLookupd, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Target]:
    options = NsqdOptions(
        tcp_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        broadcast_address="127.0.0.1",
        data_path=str(tmp_path_factory.mktemp("golden")),
    )
    async with Nsqd(options) as nsqd:
        nsqd.peers.timing = replace(Timing(), ping_s=0.2)
        nsqd.peers.set_addresses([lookupd.tcp_address])
        await lookupd.heard("IDENTIFY\n")
        yield Target(
            {
                "NSQD_TCP": nsqd.tcp_address,
                "NSQD_HTTP": nsqd.http_address,
                "LOOKUPD_TCP": lookupd.tcp_address,
            }
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recording(lookupd: ScriptedLookupd, target: Target) -> Recording:
    """One for all stories. Connecting was before them."""
    return Recording(lookupd, asyncio.get_running_loop())


@pytest.mark.parametrize("case", case_params("nsqd_lookup_client"))
async def test_lookup_client(
    case: Case, target: Target, lookupd: ScriptedLookupd, recording: Recording
) -> None:
    await recording.settle()
    if case.name == "reconnect":
        identified = lookupd.commands().count("IDENTIFY")
        lookupd.drop()
        await lookupd.heard("IDENTIFY\n", identified + 1)
    handlers = {
        "from_nsqd": recording.expect_in_order,
        "from_nsqd_any_order": recording.expect_in_any_order,
        "http_queries": recording.expect_queries,
        "seconds_between_pings": recording.expect_interval,
    }
    await asyncio.to_thread(replay, case, target, handlers=handlers)
