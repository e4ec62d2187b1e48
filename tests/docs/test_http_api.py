"""docs/http-api.md and docs/numbers.md know every route and every metric of nsqd."""

import re
from pathlib import Path

from nsqx.nsqd.http.api import HttpApi
from tests.support.node import running_node

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "http-api.md").read_text()
NUMBERS = (DOCS / "numbers.md").read_text()


def documented_paths() -> set[str]:
    """The paths shown, with ``/topic/create`` for each word of "`POST /topic/create`, `delete`"."""
    paths = set(re.findall(r"(?:GET|POST|PUT)\s+(/[\w/{}]*)", DOCUMENT))
    for folder in ("topic", "channel"):
        (line,) = re.findall(rf"\| `POST (/{folder}/create`.*?) \|", DOCUMENT)
        paths |= {f"/{folder}/{word}" for word in re.findall(r"(\w+)`", line)}
    return paths


async def test_every_route_is_documented(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        index = (await node.get("/debug/pprof/")).decode()
        for path in documented_paths():
            status, _ = await node.request("OPTIONS", path.replace("{opt}", "log_level"))
            assert status == 200, path
        router = HttpApi(node.nsqd).router()
    assert set(router.paths) == documented_paths()
    assert "/debug/pprof/goroutine" in index


async def test_every_metric_is_documented(tmp_path: Path) -> None:
    async with running_node(tmp_path, e2e_processing_latency_percentile=[0.99]) as node:
        text = (await node.get("/metrics")).decode()
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert names
    known = r"`((?:nsqd|process|python|log_lines|tasks)_\w+)[`{]"
    assert names == set(re.findall(known, DOCUMENT + NUMBERS))
