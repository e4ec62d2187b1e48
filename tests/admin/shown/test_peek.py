"""Looking into the logs of several nodes, with prepared answers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from nsqx.admin.known.upstream import Upstream
from nsqx.admin.options import AdminOptions
from nsqx.admin.shown import peek
from nsqx.admin.shown.message_filter import MessageFilter
from nsqx.admin.shown.peek import Peeker
from tests.support.fake_http import fake_http
from tests.support.processes import free_port

PATH = "/topic/peek?topic=t&from={place}&limit={limit}"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(AdminOptions()) as upstream:
        yield upstream


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


async def test_the_oldest_of_all_nodes_and_where_each_goes_on(upstream: Upstream) -> None:
    one = {PATH.format(place="start", limit=3): answer((0, 10, "a"), (1, 40, "d"), (2, 50, "e"))}
    two = {PATH.format(place="start", limit=3): answer((7, 20, "b"), (8, 30, "c"), first=7)}
    async with fake_http(one) as node_1, fake_http(two) as node_2:
        addresses = [node_1.address, node_2.address]
        result = await Peeker(upstream, "t").peek(addresses, "start", 3, wanted(), is_full=False)
    assert [row.body for row in result.messages] == ["a", "b", "c"]
    assert result.nodes[node_1.address].next == 1
    assert result.nodes[node_2.address].next == 9
    assert result.nodes[node_1.address].previous is None


async def test_the_newest_of_all_nodes_and_what_was_before(upstream: Upstream) -> None:
    one = {PATH.format(place="end", limit=2): answer((98, 10, "a"), (99, 40, "d"))}
    two = {PATH.format(place="end", limit=2): answer((8, 20, "b"), (9, 30, "c"), end=10)}
    async with fake_http(one) as node_1, fake_http(two) as node_2:
        addresses = [node_1.address, node_2.address]
        result = await Peeker(upstream, "t").peek(addresses, "end", 2, wanted(), is_full=False)
    assert [row.body for row in result.messages] == ["c", "d"]
    assert result.nodes[node_1.address].previous == 97
    assert result.nodes[node_2.address].previous == 7


async def test_a_filter_reads_page_after_page(upstream: Upstream) -> None:
    pages = {
        PATH.format(place="start", limit=1000): answer((0, 1, "no"), (1, 2, "yes"), end=4),
        PATH.format(place="seq%3A2", limit=1000): answer((2, 3, "no"), (3, 4, "yes"), end=4),
    }
    async with fake_http(pages) as node:
        peeker = Peeker(upstream, "t")
        result = await peeker.peek([node.address], "start", 5, wanted("yes"), is_full=False)
        told = result.nodes[node.address]
        assert [row.sequence for row in result.messages] == [1, 3]
        assert (told.scanned, told.complete, told.next) == (4, True, 4)
        # The first that is enough ends it, and the one that is left out is where it goes on.
        result = await peeker.peek([node.address], "start", 1, wanted("yes"), is_full=False)
        assert [row.sequence for row in result.messages] == [1]
        assert result.nodes[node.address].next == 2


async def test_a_filter_from_the_end_looks_at_the_last_ten_thousand(upstream: Upstream) -> None:
    pages = {
        PATH.format(place="end", limit=1): answer((49_999, 9, "yes"), end=50_000),
        PATH.format(place="seq%3A40000", limit=1000): answer((49_999, 9, "yes"), end=50_000),
    }
    async with fake_http(pages) as node:
        result = await Peeker(upstream, "t").peek(
            [node.address], "end", 5, wanted("yes"), is_full=False
        )
    assert [row.sequence for row in result.messages] == [49_999]


async def test_an_expression_is_tried_on_each_node_and_failures_are_counted(
    upstream: Upstream,
) -> None:
    bodies = ['{"n":1}', '{"n":"x"}', "no json", '{"n":3}']
    page = answer(*((number, number, body) for number, body in enumerate(bodies)), end=4)
    pages = {PATH.format(place="start", limit=1000): page}
    async with fake_http(pages) as one, fake_http(pages) as two:
        result = await Peeker(upstream, "t").peek(
            [one.address, two.address], "start", 9, wanted("", "abs(body.n) > `1`"), is_full=False
        )
    assert [row.body for row in result.messages] == ['{"n":3}', '{"n":3}']
    assert [(node.scanned, node.failed) for node in result.nodes.values()] == [(4, 2), (4, 2)]


async def test_when_the_time_is_over_it_says_where_to_go_on(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peek, "SCAN_SECONDS_MAX", 0.0)
    pages = {PATH.format(place="start", limit=1000): answer((7, 1, "a"), (9, 2, "a"), end=20)}
    async with fake_http(pages) as node:
        result = await Peeker(upstream, "t").peek(
            [node.address], "start", 9, wanted("a"), is_full=False
        )
    told = result.nodes[node.address]
    assert [row.sequence for row in result.messages] == [7]
    assert (told.scanned, told.complete, told.next) == (1, False, 9)


async def test_who_cannot_and_who_is_dead_say_so(upstream: Upstream) -> None:
    dead = f"127.0.0.1:{free_port()}"
    async with (
        fake_http({}) as foreign,
        fake_http({"/topic/peek": (404, {"message": "TOPIC_NOT_FOUND"})}) as without,
    ):
        addresses = [foreign.address, without.address, dead]
        result = await Peeker(upstream, "t").peek(addresses, "end", 5, wanted(), is_full=False)
    assert not any(node.ok for node in result.nodes.values())
    assert result.nodes[foreign.address].error == "NOT_SUPPORTED"
    assert result.nodes[without.address].error == "TOPIC_NOT_FOUND"
    assert "connection refused" in result.nodes[dead].error
    assert result.messages == []
