"""What NSQ 1.3.0's nsqd did with an auth server, asked again of ours as a process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.auth_server import AuthServer, running_auth_server
from tests.support.processes import running_cluster
from tests.support.transcripts import Case, Event, Replay, Target, case_params, replay

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = ("--node-id=7", "--max-msg-size=1024", "--max-body-size=4096", "--mem-queue-size=100")


@dataclass
class Setup:
    """A broker and the server that it asks."""

    target: Target
    auth: AuthServer

    def retell(self, case: Case) -> None:
        def expect_requests(run: Replay, event: Event) -> None:
            run.expect(event["auth_requests"], self.auth.take_requests())

        replay(case, self.target, handlers={"auth_requests": expect_requests})


@asynccontextmanager
async def running_setup(folder: Path, *flags: str) -> AsyncIterator[Setup]:
    async with running_auth_server() as auth, running_cluster(folder) as cluster:
        nsqd = await cluster.nsqd(*LIMITS, f"--auth-http-address={auth.address}", *flags)
        addresses = {"NSQD_TCP": nsqd.tcp_address, "NSQD_HTTP": nsqd.http_address}
        target = Target(addresses, forgets=True)
        yield Setup(target, auth)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def get(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setup]:
    async with running_setup(tmp_path_factory.mktemp("golden")) as setup:
        yield setup


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def post(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setup]:
    folder = tmp_path_factory.mktemp("golden")
    async with running_setup(folder, "--auth-http-request-method=post") as setup:
        yield setup


@pytest.mark.parametrize("case", case_params("nsqd_auth"))
async def test_auth(case: Case, get: Setup) -> None:
    await asyncio.to_thread(get.retell, case)


@pytest.mark.parametrize("case", case_params("nsqd_auth_post"))
async def test_auth_by_post(case: Case, post: Setup) -> None:
    await asyncio.to_thread(post.retell, case)
