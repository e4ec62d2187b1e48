"""
What the server answers has the shape that its OpenAPI description says, to the field.

The schemas are made strict first: what is not described must not be sent, and what is described
must be there, unless it is said to be optional. So neither the description nor the answers can
change alone.
"""

import copy
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest
import pytest_asyncio

from tests.support.dashboard import Dashboard, running_dashboard
from tests.support.processes import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONAL = {"base", "full", "delta", "skipped"}  # of an envelope
QUERIES = {
    "/api/v2/poll": ["?key=summary&key=topic:orders"],
    "/api/v2/history": ["?series=total&series=channel:orders/billing&range=1h"],
    "/api/v2/topics/{topic}/messages": ["", "?filter=hel&limit=5", "?node={node}&from=seq:0"],
    "/api/v2/activity": ["", "?limit=1"],
}
NO_JSON = {
    "/api/v2/ws",
    "/api/v2/events",
    "/api/v2/openapi.json",
    "/api/v2/topics/{topic}/messages/{id}/body",
}


class Described:
    """A dashboard with its description."""

    def __init__(self, dashboard: Dashboard, description: dict[str, Any], id: str) -> None:
        self.dashboard = dashboard
        self.description = description
        self.values = {
            "topic": "orders",
            "channel": "billing",
            "node": dashboard.nodes[0].http_address,
            "id": id,
        }

    def check(self, answer: Any, method: str, path: str, status: str = "200") -> None:
        """Compare an answer with its schema."""
        responses = self.description["paths"][path][method]["responses"]
        content = responses[status]["content"]["application/json"]
        components = _strict(self.description["components"])
        schema = {**_strict(content["schema"]), "components": components}
        jsonschema.validate(answer, schema, jsonschema.Draft202012Validator)


def _strict(schema: Any) -> Any:
    """Forbid what is not described, and demand what is."""
    strict = copy.deepcopy(schema)
    waiting = [strict]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
            if part.get("type") == "object" and part.get("properties"):
                part["additionalProperties"] = False
                part["required"] = sorted(part["properties"].keys() - OPTIONAL)
        elif isinstance(part, list):
            waiting += part
    return strict


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def described(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Described]:
    folder = tmp_path_factory.mktemp("described")
    graphite = "--graphite-url=http://127.0.0.1:1"
    e2e = ["--e2e-processing-latency-percentile=0.99"]
    async with running_dashboard(folder, graphite, node_flags=e2e) as dashboard:
        for node in dashboard.nodes:
            await node.post("/topic/create?topic=orders")
            await node.post("/channel/create?topic=orders&channel=billing")
            await node.post("/pub?topic=orders", b"hello")
        await dashboard.lookupd.post("/topic/create?topic=lonely")
        await dashboard.see("topics/orders/channels/billing", "both messages", depth=2)
        await dashboard.act("pause_channel", topic="orders", channel="billing")

        async def knows_the_lonely_topic() -> bool:
            return bool((await dashboard.document("registry"))["inactive"])

        await eventually(knows_the_lonely_topic, "a topic without nodes is seen")
        page = await dashboard.get("/api/v2/topics/orders/messages")
        id = page["messages"][0]["id"]
        yield Described(dashboard, await dashboard.get("/api/v2/openapi.json"), id)


async def test_every_question(described: Described) -> None:
    for path, operations in described.description["paths"].items():
        if "get" in operations and path not in NO_JSON:
            for query in QUERIES.get(path, [""]):
                answer = await described.dashboard.get((path + query).format(**described.values))
                described.check(answer, "get", path)


async def test_deltas(described: Described) -> None:
    first = await described.dashboard.get("/api/v2/snapshot")
    since = f"/api/v2/snapshot?since={first['seq']}&boot={first['boot']}"
    changed: dict[str, Any] = {}

    async def is_changed() -> bool:
        nonlocal changed
        async with described.dashboard.session.get(described.dashboard.url(since)) as response:
            assert response.status in (200, 204)
            changed = await response.json() if response.status == 200 else {}
        return bool(changed)

    await eventually(is_changed, "something changes")
    described.check(changed, "get", "/api/v2/snapshot")


async def test_what_is_missing_is_described_too(described: Described) -> None:
    dashboard = described.dashboard
    async with dashboard.session.get(dashboard.url("/api/v2/topics/nosuch")) as response:
        assert response.status == 404
        described.check(await response.json(), "get", "/api/v2/topics/{topic}", "default")


async def test_changes(described: Described) -> None:
    dashboard, names = described.dashboard, {"topic": "orders", "channel": "billing"}
    for fields in ({"dry_run": True}, {}):
        answer = await dashboard.act("unpause_channel", **names, **fields)
        described.check(answer, "post", "/api/v2/actions")
    path = "/api/v2/topics/{topic}/messages"
    status, answer = await dashboard.post("topics/orders/messages", {"body": "hello"})
    assert status == 200
    described.check(answer, "post", path)


async def test_refusals(described: Described) -> None:
    dashboard = described.dashboard
    for path, body in (
        ("actions", {"action": "explode"}),
        ("actions", {"action": 5}),
        ("topics/orders/messages", {"body": ""}),
    ):
        status, answer = await dashboard.post(path, body)
        assert status == 400
        described.check(answer, "post", "/api/v2/actions", "default")
    async with dashboard.session.post(dashboard.url("/api/v2/actions"), json={}) as response:
        assert response.status == 403
        described.check(await response.json(), "post", "/api/v2/actions", "default")


async def test_the_requests_of_the_manual_are_what_is_described(described: Described) -> None:
    """The bodies that docs/admin-api.md shows, with the schema of what the server reads."""
    paths = described.description["paths"]
    action = {"action": "empty_channel", "topic": "orders", "channel": "billing", "nodes": []}
    publish = {"body": "hello", "encoding": "text", "defer_seconds": 0, "count": 1, "node": ""}
    for path, body in (
        ("/api/v2/actions", {**action, "dry_run": False, "confirm": "billing"}),
        ("/api/v2/topics/{topic}/messages", {**publish, "idempotency_key": ""}),
    ):
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        schema = {**content["schema"], "components": described.description["components"]}
        jsonschema.validate(body, schema, jsonschema.Draft202012Validator)
