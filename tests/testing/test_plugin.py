"""The fixtures, in runs of pytest as users have them: each in a process, with its own settings."""

import subprocess
import sys
from pathlib import Path

import pytest

SYNCHRONOUS = """
def test_messages_go_through(nsq, published):
    nsq.publish("orders", {"id": 1})
    assert published("orders").values == [{"id": 1}]
    with nsq.consume("orders", "billing") as messages:
        with next(messages) as message:
            assert message.decode() == {"id": 1}
"""

ASYNCHRONOUS = """
import pytest

{marker}
async def test_messages_go_through(nsq, nsq_server, published):
    nsq.publish("orders", {{"id": 1}})
    async with nsq_server.client() as client:
        await client.publish("orders", {{"id": 2}})
        assert len(await published("orders").wait_async(2)) == 2
        async with client.consume("orders", "billing") as messages:
            async with await anext(messages) as message:
                assert message.decode() == {{"id": 1}}
"""

ANYIO_BACKEND = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

ISOLATED = """
import pytest

@pytest.mark.parametrize("run", [1, 2])
def test_each_has_a_cluster_of_its_own(nsq, published, run):
    assert len(published("orders")) == 0
    nsq.publish("orders", b"x")

def test_clusters_have_as_many_nodes_as_wanted(nsq_cluster):
    cluster = nsq_cluster(3, msg_timeout=10**9)
    assert len({node.tcp_address for node in cluster.nodes}) == 3
    assert nsq_cluster(1).tcp_address not in cluster.nsqd_addresses
"""


# Without pytest-asyncio its settings are unknown, which would be a warning.
UNKNOWN = ("-p", "no:asyncio", "-W", "ignore:Unknown config option")


def run_pytest(folder: Path, source: str, *arguments: str) -> None:
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_synchronous(tmp_path: Path) -> None:
    run_pytest(tmp_path, SYNCHRONOUS, *UNKNOWN, "-p", "no:anyio")


@pytest.mark.parametrize(
    ("marker", "arguments"),
    [
        ("@pytest.mark.asyncio", ("-o", "asyncio_mode=strict")),
        ("", ("-o", "asyncio_mode=auto")),
        ("@pytest.mark.anyio", UNKNOWN),
    ],
    ids=["strict", "auto", "anyio"],
)
def test_asynchronous(tmp_path: Path, marker: str, arguments: tuple[str, ...]) -> None:
    run_pytest(tmp_path, ASYNCHRONOUS.format(marker=marker) + ANYIO_BACKEND, *arguments)


def test_every_test_has_clusters_of_its_own(tmp_path: Path) -> None:
    run_pytest(tmp_path, ISOLATED)


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    code = """
import sys, nsqx.testing.plugin
print(*(name for name in sys.modules if name.startswith("nsqx.") and "testing" not in name))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert result.stdout.split() == []
