"""What the pages for operators name exists, and their figures are those of the repository."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from deploy.references import DAEMON_OPTIONS
from nsqx.runtime.options.flags import list_flags
from tests.support.node import running_node

ROOT = Path(__file__).parents[2]
PAGES = ("operations", "compatibility", "migration", "comparison")
COMPATIBILITY = (ROOT / "docs" / "compatibility.md").read_text()
OPTIONS = {f"--{each.name}" for options in DAEMON_OPTIONS.values() for each in list_flags(options)}
# Of nsqx and of its benchmarks.
OTHERS = {"--nodes", "--lookupd", "--nsqd", "--profile"}
OTHERS |= {"--command", "--drain", "--dry-run", "--json", "--timeout", "--undo"}


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_every_option_exists(name: str) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page(name)))
    assert named - OPTIONS - OTHERS == set()


@pytest.mark.parametrize("name", PAGES)
def test_every_path_exists(name: str) -> None:
    named = re.findall(r"`((?:deploy|tests|docs|benchmarks)/[\w./-]*)`", page(name))
    assert [path for path in named if not (ROOT / path).exists()] == []


async def test_every_metric_exists(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        known = (await node.get("/metrics")).decode()
    named = set(re.findall(r"\b(?:nsqd|nsqlookupd)_\w+", page("operations")))
    assert named
    assert [name for name in named if name not in known] == []


def test_every_page_is_in_the_index() -> None:
    entries = re.findall(
        r"^[a-z*][\w/*-]*$", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE
    )
    listed = {path for entry in entries for path in (ROOT / "docs").glob(f"{entry}.md")}
    pages = set((ROOT / "docs").rglob("*.md")) - {ROOT / "docs" / "index.md"}
    assert pages - listed == set(), "add it to a list of docs/index.md"


def test_the_counts_of_recorded_conversations_are_true() -> None:
    recorded = {
        path.stem: len(json.loads(path.read_text())["cases"])
        for path in (ROOT / "tests" / "golden").glob("*.json")
    }
    told = [int(count) for count in re.findall(r"^\|.*\| (\d+) \|$", COMPATIBILITY, re.MULTILINE)]
    assert sum(told) == sum(recorded.values())
    assert f"some {sum(told)} recorded" in COMPATIBILITY


def test_every_decision_about_nsq_is_in_the_list() -> None:
    """A record that says how NSQ does it and how we do it belongs on the compatibility page."""
    deliberate = {"0003", "0004", "0005", "0070", "0007", "0009", "0011", "0012", "0020", "0030"}
    deliberate |= {"0031", "0034", "0085", "0086", "0087", "0088"}
    linked = set(re.findall(r"decisions/(\d{4})", COMPATIBILITY))
    assert deliberate <= linked


async def test_what_migration_asks_of_a_node_answers(tmp_path: Path) -> None:
    (script,) = re.findall(r"python3 -c '(.*?)'$", page("migration"), re.DOTALL | re.MULTILINE)
    lines = "\n".join(line.removeprefix(" " * 7) for line in script.splitlines())
    async with running_node(tmp_path) as node, node.client() as client:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=c")
        await client.publish("t", b"x")
        stats = await node.get("/stats?format=json")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        lines,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(stats)
    assert output == b"t c 1 0 0\n"
