"""What NSQ 1.3.0's nsqd did with other limits, with topology and with latency percentiles."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.processes import running_cluster
from tests.support.transcripts import Case, Replay, Target, case_params, forget_topics, replay

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLAGS = (
    "--node-id=7",
    "--max-msg-size=1024",
    "--max-body-size=4096",
    "--mem-queue-size=100",
    "--max-channel-consumers=1",
    "--snappy=false",
    "--deflate=false",
    "--max-rdy-count=10",
    "--topology-region=region1",
    "--topology-zone=zone1",
    "--enable-experiment=topology-aware-consumption",
    "--e2e-processing-latency-percentile=1.0,0.99,0.95",
    "--max-msg-timeout=3s",
    "--msg-timeout=2s",
    "--max-req-timeout=2s",
    "--max-heartbeat-interval=5s",
    "--max-output-buffer-size=128",
    "--max-output-buffer-timeout=100ms",
    "--min-output-buffer-timeout=50ms",
    "--output-buffer-timeout=60ms",
    "--max-deflate-level=3",
    "--statsd-prefix=x.%s.y",
)

# Measured by the recorder; tests of timing are in test_in_flight and test_deferred.
MEASURED = {"back_after_two_seconds", "back_after_three_seconds"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    async with running_cluster(tmp_path_factory.mktemp("golden")) as cluster:
        nsqd = await cluster.nsqd(*FLAGS)
        addresses = {"NSQD_TCP": nsqd.tcp_address, "NSQD_HTTP": nsqd.http_address}
        yield Target(addresses)


@pytest.mark.parametrize("case", case_params("nsqd_variants"))
async def test_variants(case: Case, target: Target) -> None:
    await asyncio.to_thread(retell, case, target)


def retell(case: Case, target: Target) -> None:
    forget_topics(target)
    if case.name == "e2e_latency_filled":  # what the recorder published was not recorded
        publishing = Replay(case, target)
        for _ in range(3):
            publishing.request({"method": "POST", "path": "/pub?topic=tv_e2e2", "body": "x"})
    replay(case, target, ignored=MEASURED)
