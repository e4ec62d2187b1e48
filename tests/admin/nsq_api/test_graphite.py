"""The Graphite flags: what is asked of it, what comes of its answer, and what pages are told."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from tests.support.fake_http import FakeHttp, fake_http

SECOND_NS = 1_000_000_000


@asynccontextmanager
async def dashboard(graphite: FakeHttp, **flags: Any) -> AsyncIterator["Asked"]:
    options = AdminOptions(
        http_address="127.0.0.1:0",
        nsqd_http_address=["127.0.0.1:1"],
        graphite_url=f"http://{graphite.address}/",
        **flags,
    )
    async with Admin(options) as admin, aiohttp.ClientSession() as session:
        yield Asked(f"http://{admin.http_address}", session)


class Asked:
    """The dashboard."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(f"{self.url}{path}") as response:
            return response.status, await response.text()


def rate_of(value: Any) -> list[dict[str, Any]]:
    return [{"target": "x", "datapoints": [[value, 1_795_500_000]]}]


async def test_the_interval_of_statsd_is_what_a_rate_is_of() -> None:
    async with (
        fake_http({"/render": rate_of(90.0)}) as graphite,
        dashboard(graphite, statsd_interval=30 * SECOND_NS) as admin,
    ):
        status, body = await admin.get("/api/graphite?metric=rate&target=nsq.topic.a%2Ab")
        assert (status, json.loads(body)) == (200, {"rate": "3.00"})
        assert graphite.requests == [
            "/render?format=json&from=-60sec&target=nsq.topic.a%2Ab&until=-30sec"
        ]


@pytest.mark.parametrize("answer", [(500, "no"), "nonsense", [], rate_of(None)])
async def test_no_answer_of_graphite_breaks_anything(answer: Any) -> None:
    async with fake_http({"/render": answer}) as graphite, dashboard(graphite) as admin:
        assert (await admin.get("/api/graphite?metric=rate&target=x"))[0] == 500


async def test_pictures_are_fetched_from_here_if_wanted() -> None:
    async with fake_http({"/render": "a picture"}) as graphite:
        async with dashboard(graphite) as admin:
            assert (await admin.get("/render?target=x"))[0] == 404
        async with dashboard(graphite, proxy_graphite=True) as admin:
            assert await admin.get("/render?target=x&target=y") == (200, "a picture")
    assert graphite.requests == ["/render?target=x&target=y"]


async def test_pages_are_told_what_they_need_to_link_to_it() -> None:
    flags = {
        "statsd_interval": 10 * SECOND_NS,
        "statsd_prefix": "nsq.%s",
        "statsd_counter_format": "c.%s",
        "statsd_gauge_format": "g.%s",
    }
    expected = {
        "interval": 10.0,
        "prefix": "nsq.%s",
        "counter_format": "c.%s",
        "gauge_format": "g.%s",
    }
    async with fake_http({}) as graphite:
        async with dashboard(graphite, **flags) as admin:
            me = json.loads((await admin.get("/api/v2/me"))[1])
            assert me["graphite"] == {"url": f"http://{graphite.address}/", **expected}
        async with dashboard(graphite, proxy_graphite=True, **flags) as admin:
            me = json.loads((await admin.get("/api/v2/me"))[1])
            assert me["graphite"] == {"url": "", **expected}
    assert graphite.requests == []  # pages load nothing from it by themselves
