"""
What the server answers has the shape that its OpenAPI description says, to the field.

The schemas are made strict first: what is not described must not be sent, and what is described
must be there, unless it is said to be optional. So neither the description nor the answers can
change alone.
"""

import copy
import io
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import pytest_asyncio
from yarl import URL

from nsqx.admin.daemon import Admin
from nsqx.admin.guard.credentials import token_line
from nsqx.admin.options import AdminOptions
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


# What is refused, by route and status: the path, and for a change its body.
ORDERS, NAMES = "/api/v2/topics/{topic}", {"topic": "orders", "channel": "billing"}
NOWHERE = "127.0.0.1:1"
REFUSED: list[tuple[str, str, int, str, Any]] = [
    *(
        ("get", path, 400, f"{path}?since=x", None)
        for path in ("/api/v2/snapshot", "/api/v2/topology", "/api/v2/registry", ORDERS)
    ),
    ("get", "/api/v2/settings", 400, "/api/v2/settings?since=x", None),
    ("get", ORDERS, 404, "/api/v2/topics/nosuch", None),
    ("get", ORDERS + "/channels/{channel}", 400, ORDERS + "/channels/{channel}?since=x", None),
    ("get", ORDERS + "/channels/{channel}", 404, ORDERS + "/channels/nosuch", None),
    ("get", "/api/v2/nodes/{node}", 400, "/api/v2/nodes/{node}?since=x", None),
    ("get", "/api/v2/nodes/{node}", 404, f"/api/v2/nodes/{NOWHERE}", None),
    ("get", "/api/v2/poll", 400, "/api/v2/poll", None),
    ("get", "/api/v2/poll", 404, "/api/v2/poll?key=nonsense", None),
    ("get", "/api/v2/ws", 400, "/api/v2/ws", None),
    ("get", "/api/v2/events", 404, "/api/v2/events?key=nonsense", None),
    ("get", ORDERS + "/messages", 400, ORDERS + "/messages?limit=0", None),
    ("get", ORDERS + "/messages", 404, "/api/v2/topics/nosuch/messages", None),
    ("get", ORDERS + "/messages/{id}", 400, ORDERS + "/messages/xyz", None),
    ("get", ORDERS + "/messages/{id}", 404, ORDERS + "/messages/ffffffffffffffff", None),
    ("get", ORDERS + "/messages/{id}/body", 400, ORDERS + "/messages/xyz/body", None),
    ("get", ORDERS + "/messages/{id}/body", 404, ORDERS + "/messages/ffffffffffffffff/body", None),
    ("post", ORDERS + "/messages", 400, ORDERS + "/messages", {"body": ""}),
    ("post", ORDERS + "/messages", 404, ORDERS + "/messages", {"body": "x", "node": NOWHERE}),
    ("post", ORDERS + "/messages", 413, ORDERS + "/messages", b"x" * (17 << 20)),
    *(
        ("get", f"/api/v2/{rows}", 400, f"/api/v2/{rows}?sort=nosuch&limit=0", None)
        for rows in ("topics", "channels", "nodes")
    ),
    ("get", ORDERS + "/settings", 400, "/api/v2/topics/a%20b/settings", None),
    ("get", ORDERS + "/settings", 404, "/api/v2/topics/nosuch/settings", None),
    *(
        (
            "get",
            ORDERS + "/channels/{channel}/settings",
            status,
            f"{ORDERS}/channels/{name}/settings",
            None,
        )
        for status, name in ((400, "a%20b"), (404, "nosuch"))
    ),
    ("get", "/api/v2/history", 400, "/api/v2/history?range=1y", None),
    ("get", "/api/v2/history", 404, "/api/v2/history?series=topic:nosuch", None),
    *(
        ("get", "/api/v2/activity", 400, f"/api/v2/activity?{query}", None)
        for query in ("limit=0", "limit=-1", "limit=1001", "before=x")
    ),
    ("post", "/api/v2/actions", 400, "/api/v2/actions", {"action": "explode"}),
    (
        "post",
        "/api/v2/actions",
        404,
        "/api/v2/actions",
        {"action": "pause_topic", "topic": "nosuch"},
    ),
    (
        "post",
        "/api/v2/actions",
        404,
        "/api/v2/actions",
        {"action": "pause_channel", "topic": "orders", "channel": "nosuch"},
    ),
    ("post", "/api/v2/actions", 413, "/api/v2/actions", b"x" * (2 << 20)),
    ("post", "/api/v2/attention", 400, "/api/v2/attention", {"id": "x", "mark": "love"}),
    ("post", "/api/v2/attention", 404, "/api/v2/attention", {"id": "x", "mark": "clear"}),
    ("post", "/api/v2/attention", 413, "/api/v2/attention", b"x" * (65 << 10)),
]
# Answered where the test beside it says, or below.
ELSEWHERE = {
    ("get", "/api/v2/ws", 403),  # test_security.py
    ("get", "/api/v2/ws", 503),  # shown/test_live.py
    ("get", "/api/v2/events", 503),
    *(
        ("get", f"{ORDERS}/messages{rest}", 403) for rest in ("", "/{id}", "/{id}/body")
    ),  # v2/test_messages.py
    ("post", ORDERS + "/messages", 503),  # v2/test_messages.py
    ("post", "/api/v2/actions", 503),  # test_repeats.py
    *(("post", path, 409) for path in ("/api/v2/actions", ORDERS + "/messages")),  # test_repeats.py
}


@pytest.mark.parametrize(("method", "path", "status", "url", "body"), REFUSED)
async def test_a_refusal_is_described_with_its_status(
    described: Described, method: str, path: str, status: int, url: str, body: Any
) -> None:
    dashboard = described.dashboard
    data = (
        None
        if body is None
        else io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    )
    async with dashboard.session.request(
        method,
        URL(dashboard.url(url.format(**described.values)), encoded=True),
        data=data,
        headers={"X-NSQX-Request": "1"},
    ) as response:
        answer = await response.json()
        assert response.status == status, answer
    described.check(answer, method, path, str(status))


async def test_who_asks_from_elsewhere_may_change_nothing(described: Described) -> None:
    for path, operations in described.description["paths"].items():
        if "post" in operations:
            url = described.dashboard.url(path.format(**described.values))
            async with described.dashboard.session.post(url, json={}) as response:
                assert response.status == 403
                described.check(await response.json(), "post", path, "403")


async def test_a_change_that_no_node_made_and_a_message_that_none_gave_are_502(
    described: Described,
) -> None:
    dashboard = described.dashboard
    for node in dashboard.nodes:
        node.send_signal(signal.SIGSTOP)
    try:
        status, answer = await dashboard.post(
            "actions", {"action": "pause_topic", "topic": "orders"}
        )
        assert (status, answer["ok"]) == (502, False)
        described.check(answer, "post", "/api/v2/actions", "502")
        for rest in ("", "/body"):
            path = "/api/v2/topics/{topic}/messages/{id}" + rest
            async with dashboard.session.get(dashboard.url(path.format(**described.values))) as got:
                assert got.status == 502
                described.check(await got.json(), "get", path, "502")
        at = dashboard.nodes[0].http_address
        status, answer = await dashboard.post("topics/orders/messages", {"body": "x", "node": at})
        assert status == 502
        described.check(answer, "post", "/api/v2/topics/{topic}/messages", "502")
    finally:
        for each in dashboard.nodes:
            each.send_signal(signal.SIGCONT)


async def test_whatever_is_described_is_answered_somewhere(described: Described) -> None:
    declared = {
        (method, path, int(status))
        for path, operations in described.description["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
        if status.isdigit() and int(status) >= 400
    }
    of_any = {each for each in declared if each[2] in (401, 502) or each[::2] == ("post", 403)}
    tested = {(method, path, status) for method, path, status, _, _ in REFUSED}
    assert declared - of_any - tested == ELSEWHERE


async def test_whoever_shows_no_token_is_asked_for_it(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(token_line("mia", "operator", "s3cret"))
    options = AdminOptions(
        http_address="127.0.0.1:0", nsqd_http_address=[NOWHERE], auth_token_file=str(tokens)
    )
    async with Admin(options) as admin, aiohttp.ClientSession() as session:
        base = f"http://{admin.http_address}"
        async with session.get(
            f"{base}/api/v2/openapi.json", headers={"Authorization": "Bearer s3cret"}
        ) as response:
            description = await response.json()
        for path, operations in description["paths"].items():
            for method, operation in operations.items():
                assert "401" in operation["responses"]
                url = base + path.format(topic="t", channel="c", node="n:1", id="0" * 16)
                async with session.request(method, url) as response:
                    assert response.status == 401, path
