"""Dashboards and alerts ask for metrics that exist: a live node and a live directory are asked."""

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from deploy.dashboards import COLUMNS, DASHBOARDS, dashboard
from deploy.generate import ROOT
from nsqx.client import Message, Nsq, PublishFailed
from nsqx.integrations.prometheus import PrometheusMetrics
from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from tests.support.node import Node, running_node

RULES = (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text()
EXAMPLES = ROOT / "deploy" / "helm" / "examples"
HANDBOOK = ROOT / "docs" / "operations.md"
ALERTS = re.findall(r"- alert: (\w+)", RULES)
_METRIC = re.compile(r"\b(?:nsqd|nsqlookupd|nsqx|process|python)_\w+")


def queries() -> Iterable[str]:
    """All expressions of dashboards, rules and examples of scaling."""
    for page in DASHBOARDS.values():
        for panel in page.panels:
            yield from (expression for _, expression in panel.queries)
        yield from (variable.metric for variable in page.variables)
    yield from (path.read_text() for path in EXAMPLES.glob("keda*.yaml"))
    for line in RULES.splitlines():
        if "summary:" not in line and "runbook:" not in line and "description:" not in line:
            yield line.partition("#")[0]


async def metrics_of_an_application(node: Node) -> str:
    """What a client tells that has published, failed to, and handled and failed to."""
    registry = CollectorRegistry()
    nsq = Nsq(nsqd=str(node.nsqd.tcp_address), observers=[PrometheusMetrics(registry)])
    handled = asyncio.Event()

    @nsq.handler("clients", "c", requeue_delay=0, backoff=False)
    async def handle(message: Message) -> None:
        if message.attempts == 1:
            raise RuntimeError("not yet")
        handled.set()

    async with nsq, nsq.running(), asyncio.timeout(10):
        with pytest.raises(PublishFailed):
            await nsq.publish("clients", b"x" * 2_000_000)
        await nsq.publish("clients", b"1")
        await handled.wait()
        return generate_latest(registry).decode()


async def test_every_metric_exists(tmp_path: Path) -> None:
    asked = {name for query in queries() for name in _METRIC.findall(query)}
    options = LookupdOptions(tcp_address="127.0.0.1:0", http_address="127.0.0.1:0")
    async with Lookupd(options) as lookupd, aiohttp.ClientSession() as http:
        known = [f"127.0.0.1:{lookupd.tcp_port}"]
        async with running_node(tmp_path, lookupd_tcp_address=known) as node:
            await node.post("/topic/create?topic=t")
            await node.post("/channel/create?topic=t&channel=c")
            text = (await node.get("/metrics")).decode()
            async with http.get(f"http://{lookupd.http_address}/metrics") as answer:
                text += await answer.text()
            text += await metrics_of_an_application(node)
    names = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}
    assert asked
    assert asked - names == set()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap_and_have_numbers_of_their_own(name: str) -> None:
    panels = dashboard(DASHBOARDS[name])["panels"]
    taken = [
        (x, panel["gridPos"]["y"])
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < COLUMNS
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_is_tested() -> None:
    tests = (ROOT / "deploy" / "prometheus" / "rules_test.yaml").read_text()
    assert set(ALERTS) == set(re.findall(r"alertname: (\w+)", tests))


@pytest.mark.parametrize("alert", ALERTS)
def test_the_handbook_says_what_to_do(alert: str) -> None:
    assert f"docs/operations.md#{alert.lower()}\n" in RULES
    assert re.search(rf"^### {alert}$", HANDBOOK.read_text(), re.MULTILINE)
