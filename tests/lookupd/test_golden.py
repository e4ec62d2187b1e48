"""
What NSQ 1.3.0's nsqlookupd answered, asked again of ours as a process.

The recorder forgot the topics of earlier cases before each case in which an nsqd connects (seen
from /topics, which then shows that case's topics only); so does the replay.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.processes import Cluster, running_cluster
from tests.support.transcripts import Case, Target, case_params, forget_topics, replay

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def target(cluster: Cluster, *flags: str) -> Target:
    """Start a directory for a suite, empty as the recorder's was."""
    lookupd = await cluster.lookupd(*flags)
    addresses = {"LOOKUPD_TCP": lookupd.tcp_address, "LOOKUPD_HTTP": lookupd.http_address}
    return Target(addresses, tcp="LOOKUPD_TCP", http="LOOKUPD_HTTP")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("golden")) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tcp_target(cluster: Cluster) -> Target:
    return await target(cluster)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http_target(cluster: Cluster) -> Target:
    return await target(cluster)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def timeouts_target(cluster: Cluster) -> Target:
    return await target(cluster, "--inactive-producer-timeout=1s", "--tombstone-lifetime=1s")


def retell(case: Case, target: Target) -> None:
    if any("send" in event for event in case.events):
        forget_topics(target)
    replay(case, target)


@pytest.mark.parametrize("case", case_params("lookupd_tcp"))
async def test_tcp(case: Case, tcp_target: Target) -> None:
    await asyncio.to_thread(retell, case, tcp_target)


@pytest.mark.parametrize("case", case_params("lookupd_http"))
async def test_http(case: Case, http_target: Target) -> None:
    await asyncio.to_thread(retell, case, http_target)


@pytest.mark.parametrize("case", case_params("lookupd_timeouts"))
async def test_timeouts(case: Case, timeouts_target: Target) -> None:
    await asyncio.to_thread(retell, case, timeouts_target)
