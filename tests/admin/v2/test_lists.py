"""Topics, channels and nodes by pages: filtered and sorted, over a snapshot made by hand."""

import json
from typing import Any, cast

import pytest
from aiohttp import web

from nsqx.admin.guard.access import Role, Visitor
from nsqx.admin.guard.gate import V2Error
from nsqx.admin.shown.hub import Hub
from nsqx.admin.v2.lists import ListEndpoints
from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import merge
from nsqx.runtime.http.server import Request
from tests.support.cluster_views import channel, cluster_view, node_view, topic

ANN = Visitor("ann", Role.VIEWER, False, False)


class FakeHub:
    snapshot = merge(
        cluster_view(
            node_view(
                "n1:1", *(topic(f"t{n}", channel("c", depth=n, paused=n == 3)) for n in range(5))
            ),
            node_view("n2:1", state=DaemonState.UNREACHABLE),
        )
    )


class FakeRequest:
    def __init__(self, **query: str) -> None:
        self._query = query

    def query(self) -> dict[str, str]:
        return self._query


LISTS = ListEndpoints(cast(Hub, FakeHub()))


async def page(kind: str, **query: str) -> dict[str, Any]:
    answer = await getattr(LISTS, kind)(cast(Request, FakeRequest(**query)), ANN)
    assert isinstance(answer, web.Response)
    assert isinstance(answer.body, bytes)
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def names(kind: str, **query: str) -> list[str]:
    return [row["name"] for row in (await page(kind, **query))["rows"]]


async def test_pages_follow_each_other_until_all_is_said() -> None:
    found: list[str] = []
    after: int | None = 0
    while after is not None:
        answer = await page("topics", limit="2", after=str(after))
        assert answer["total"] == 5
        found += [row["name"] for row in answer["rows"]]
        after = answer["next"]
    assert found == ["t0", "t1", "t2", "t3", "t4"]


async def test_rows_are_filtered_and_sorted() -> None:
    assert await names("channels", q="T3") == ["t3/c"]
    assert await names("channels", sort="-depth", limit="2") == ["t4/c", "t3/c"]
    assert await names("nodes", flag="unreachable") == ["n2:1"]
    # What is not known comes last either way.
    assert await names("nodes", sort="depth") == ["n1:1", "n2:1"]
    assert await names("nodes", sort="-depth") == ["n1:1", "n2:1"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": "0"}, "INVALID_ARG_LIMIT"),
        ({"after": "x"}, "INVALID_ARG_AFTER"),
        ({"sort": "nothing"}, "INVALID_ARG_SORT"),
        ({"sort": "flags"}, "INVALID_ARG_SORT"),
    ],
)
async def test_what_makes_no_sense_is_refused(query: dict[str, str], code: str) -> None:
    with pytest.raises(V2Error) as raised:
        await page("channels", **query)
    assert (raised.value.status, raised.value.code) == (400, code)
