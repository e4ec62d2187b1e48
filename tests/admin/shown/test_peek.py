"""Looking into the logs of several nodes, with prepared answers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from nsqx.admin.shown.log_places import LogPlaces
from nsqx.admin.shown.message_filter import MessageFilter
from nsqx.admin.shown.peek import Peeker
from nsqx.cluster.http import DaemonHttp
from tests.support.fake_http import FakeHttp, fake_http
from tests.support.processes import free_port

START, END = LogPlaces.parse("start"), LogPlaces.parse("end")
PATH = "/topic/peek?topic=t&from={place}&limit={limit}"


@pytest.fixture
async def http() -> AsyncIterator[DaemonHttp]:
    async with DaemonHttp() as http:
        yield http


def wanted(text: str = "", expression: str = "") -> MessageFilter:
    return MessageFilter.parse(text, expression)


def answer(*messages: tuple[int, int, str], first: int = 0, end: int = 100) -> dict[str, Any]:
    """``messages``: number, time, body."""
    return {
        "topic": "t",
        "first": first,
        "end": end,
        "next": messages[-1][0] + 1 if messages else end,
        "messages": [
            {"sequence": number, "id": f"{number:016x}", "timestamp": at, "body": body}
            for number, at, body in messages
        ],
    }


async def test_the_oldest_of_all_nodes_and_where_each_goes_on(http: DaemonHttp) -> None:
    one = {PATH.format(place="start", limit=3): answer((0, 10, "a"), (1, 40, "d"), (2, 50, "e"))}
    two = {PATH.format(place="start", limit=3): answer((7, 20, "b"), (8, 30, "c"), first=7, end=9)}
    async with fake_http(one) as node_1, fake_http(two) as node_2:
        addresses = [node_1.address, node_2.address]
        result = await Peeker(http, "t").peek(addresses, START, 3, wanted(), is_full=False)
    assert [row.body for row in result.messages] == ["a", "b", "c"]
    assert result.nodes[node_1.address].next == 1
    assert result.nodes[node_2.address].next == 9
    assert result.nodes[node_1.address].previous is None


async def test_what_was_found_before_a_node_failed_is_shown(http: DaemonHttp) -> None:
    pages = {PATH.format(place="start", limit=3): answer((0, 1, "a"), (1, 2, "b"))}
    async with fake_http(pages) as node:  # and 404 for what follows
        result = await Peeker(http, "t").peek([node.address], START, 3, wanted(), is_full=False)
    told = result.nodes[node.address]
    assert [row.body for row in result.messages] == ["a", "b"]
    assert (told.ok, bool(told.error), told.complete, told.next) == (True, True, False, 2)
    assert result.newer == f"after:{node.address}=2"


async def test_the_newest_of_all_nodes_and_what_was_before(http: DaemonHttp) -> None:
    one = {PATH.format(place="end", limit=2): answer((98, 10, "a"), (99, 40, "d"))}
    two = {PATH.format(place="end", limit=2): answer((8, 20, "b"), (9, 30, "c"), end=10)}
    async with fake_http(one) as node_1, fake_http(two) as node_2:
        addresses = [node_1.address, node_2.address]
        result = await Peeker(http, "t").peek(addresses, END, 2, wanted(), is_full=False)
    assert [row.body for row in result.messages] == ["c", "d"]
    assert result.nodes[node_1.address].previous == 99
    assert result.nodes[node_2.address].previous == 9
    assert result.older == f"before:{node_1.address}=99,{node_2.address}=9"
    assert result.newer == f"after:{node_1.address}=100,{node_2.address}=10"


async def test_a_filter_reads_page_after_page(http: DaemonHttp) -> None:
    pages = {
        PATH.format(place="start", limit=1000): answer((0, 1, "no"), (1, 2, "yes"), end=4),
        PATH.format(place="seq%3A2", limit=1000): answer((2, 3, "no"), (3, 4, "yes"), end=4),
    }
    async with fake_http(pages) as node:
        peeker = Peeker(http, "t")
        result = await peeker.peek([node.address], START, 5, wanted("yes"), is_full=False)
        told = result.nodes[node.address]
        assert [row.sequence for row in result.messages] == [1, 3]
        assert (told.scanned, told.complete, told.next) == (4, True, 4)
        # The first that is enough ends it, and the one that is left out is where it goes on.
        result = await peeker.peek([node.address], START, 1, wanted("yes"), is_full=False)
        assert [row.sequence for row in result.messages] == [1]
        assert result.nodes[node.address].next == 2


async def test_a_search_from_the_newest_says_what_it_has_seen_and_goes_on(http: DaemonHttp) -> None:
    pages = {PATH.format(place="end", limit=1000): _thousand(4000)}
    for start in (3000, 2000, 1000, 0):
        place = f"seq%3A{start}"
        pages[PATH.format(place=place, limit=1000)] = _thousand(start)
    pages[PATH.format(place="seq%3A501", limit=1000)] = _thousand(501)
    pages[PATH.format(place="seq%3A0", limit=501)] = _thousand(0)
    async with fake_http(pages) as node:
        peeker, each = Peeker(http, "t", scan_messages_max=2000), node.address
        result = await peeker.peek([each], END, 5, wanted("yes"), is_full=False)
        told = result.nodes[each]
        assert [row.sequence for row in result.messages] == []
        assert (told.scanned, told.complete, told.from_, told.to) == (2000, False, 3000, 5000)
        result = await peeker.peek(
            [each], LogPlaces.parse(result.older or ""), 5, wanted("yes"), is_full=False
        )
        told = result.nodes[each]
        assert [row.sequence for row in result.messages] == [1501]
        assert (told.complete, told.from_, told.to) == (False, 1000, 3000)
        result = await peeker.peek(
            [each], LogPlaces.parse(result.older or ""), 5, wanted("yes"), is_full=False
        )
        assert (result.nodes[each].from_, result.nodes[each].to) == (0, 1000)
        assert (result.nodes[each].complete, result.older) == (True, None)


def _thousand(start: int) -> dict[str, Any]:
    """Of a log of 5000, of which one is wanted."""
    page = (
        (number, number, "yes" if number == 1501 else "no") for number in range(start, start + 1000)
    )
    return answer(*page, end=5000)


async def test_an_expression_is_tried_on_each_node_and_failures_are_counted(
    http: DaemonHttp,
) -> None:
    bodies = ['{"n":1}', '{"n":"x"}', "no json", '{"n":3}']
    page = answer(*((number, number, body) for number, body in enumerate(bodies)), end=4)
    pages = {PATH.format(place="start", limit=1000): page}
    async with fake_http(pages) as one, fake_http(pages) as two:
        result = await Peeker(http, "t").peek(
            [one.address, two.address], START, 9, wanted("", "abs(body.n) > `1`"), is_full=False
        )
    assert [row.body for row in result.messages] == ['{"n":3}', '{"n":3}']
    assert [(node.scanned, node.failed) for node in result.nodes.values()] == [(4, 2), (4, 2)]


async def test_when_the_time_is_over_it_says_where_to_go_on(http: DaemonHttp) -> None:
    pages = {PATH.format(place="start", limit=1000): answer((7, 1, "a"), (9, 2, "a"), end=20)}
    async with fake_http(pages) as node:
        result = await Peeker(http, "t", scan_s_max=0.0).peek(
            [node.address], START, 9, wanted("a"), is_full=False
        )
    told = result.nodes[node.address]
    assert [row.sequence for row in result.messages] == [7]
    assert (told.scanned, told.complete, told.next) == (1, False, 9)


async def test_who_cannot_and_who_is_dead_say_so(http: DaemonHttp) -> None:
    dead = f"127.0.0.1:{free_port()}"
    async with (
        fake_http({}) as foreign,
        fake_http({"/topic/peek": (404, {"message": "TOPIC_NOT_FOUND"})}) as without,
    ):
        addresses = [foreign.address, without.address, dead]
        result = await Peeker(http, "t").peek(addresses, END, 5, wanted(), is_full=False)
    assert not any(node.ok for node in result.nodes.values())
    assert result.nodes[foreign.address].error == "NOT_SUPPORTED"
    assert result.nodes[without.address].error == "TOPIC_NOT_FOUND"
    assert "connection refused" in result.nodes[dead].error
    assert result.messages == []


@pytest.mark.parametrize("limit", [1, 3, 7])
@pytest.mark.parametrize("text", ["", "w"])
async def test_all_pages_of_several_nodes_are_their_logs(
    http: DaemonHttp, limit: int, text: str
) -> None:
    """There and back: each message once, whatever the clocks of the nodes say."""
    logs = [
        [(number, (number * 37) % 50, "wanted") for number in range(2, 20)],
        [(number, number, "wanted" if number % 3 else "not") for number in range(11)],
        [],
    ]
    expected = {(index, each[0]) for index, log in enumerate(logs) for each in log}
    if text:
        expected -= {(1, number) for number in range(0, 11, 3)}
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(fake_log(log)) for log in logs]
        addresses = [node.address for node in nodes]
        peeker = Peeker(http, "t")

        async def walk(place: str | None, side: str) -> tuple[list[tuple[int, Any]], Any]:
            found: list[tuple[int, Any]] = []
            result = None
            while place is not None:
                places = LogPlaces.parse(place)
                result = await peeker.peek(addresses, places, limit, wanted(text), is_full=False)
                rows = [(addresses.index(row.node), row.sequence) for row in result.messages]
                found += rows
                place = getattr(result, side)
                if side == "newer" and all(n.to == n.end for n in result.nodes.values()):
                    break
            assert result is not None
            return found, result

        back, last = await walk("end", "older")
        assert sorted(back) == sorted(expected)
        there, _ = await walk("start", "newer")
        assert sorted(there) == sorted(expected)
        again, _ = await walk(f"after:{last.older}" if last.older else last.newer, "newer")
        shown_last = {(addresses.index(row.node), row.sequence) for row in last.messages}
        assert sorted(again) == sorted(expected - shown_last)


@asynccontextmanager
async def fake_log(log: list[tuple[int, int, str]]) -> AsyncIterator[FakeHttp]:
    """A node with messages of consecutive numbers: number, time, body."""
    first, end = (log[0][0], log[-1][0] + 1) if log else (0, 0)
    pages = {}
    for limit in range(1, 1001) if len(log) < 5 else (*range(1, 25), 1000):
        starts = {f"seq%3A{each}": each for each in range(30)}
        for place, start in {"start": first, "end": max(first, end - limit), **starts}.items():
            begin = min(max(start, first), end)
            page = [each for each in log if begin <= each[0] < begin + limit]
            found = answer(*page, first=first, end=end)
            pages[PATH.format(place=place, limit=limit)] = {**found, "next": begin + len(page)}
    async with fake_http(pages) as node:
        yield node
