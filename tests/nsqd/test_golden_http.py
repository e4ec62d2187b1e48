"""What NSQ 1.3.0's nsqd answered over HTTP, asked again of ours as a process."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.processes import running_cluster
from tests.support.transcripts import Case, Target, case_params, replay

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = ("--node-id=7", "--max-msg-size=1024", "--max-body-size=4096", "--mem-queue-size=100")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    async with running_cluster(tmp_path_factory.mktemp("golden")) as cluster:
        nsqd = await cluster.nsqd(*LIMITS)
        await nsqd.restart()  # now it is asked for its ports by number, which /config shows
        addresses = {"NSQD_TCP": nsqd.tcp_address, "NSQD_HTTP": nsqd.http_address}
        yield Target(addresses, forgets=True)


@pytest.mark.parametrize("case", case_params("nsqd_http"))
async def test_http(case: Case, target: Target) -> None:
    await asyncio.to_thread(replay, case, target)
