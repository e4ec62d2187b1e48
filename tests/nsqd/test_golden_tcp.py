"""What NSQ 1.3.0's nsqd answered over TCP, asked again of ours as a process."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from tests.support.certificates import Authority
from tests.support.processes import Cluster, running_cluster
from tests.support.transcripts import Case, Event, Replay, Target, case_params, replay

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Durations that the recorder measured; ours are in tests/nsqd/core/test_session.py.
MEASURED = {"first_heartbeat_after_s", "closed_after_s"}

LIMITS = ("--node-id=7", "--max-msg-size=1024", "--max-body-size=4096", "--mem-queue-size=100")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("golden")) as cluster:
        yield cluster


async def tls_target(cluster: Cluster, *flags: str, forgets: bool = False) -> Target:
    """Start a node with a certificate."""
    server = Authority(cluster.folder).server()
    nsqd = await cluster.nsqd(
        *LIMITS,
        f"--tls-cert={server.certificate}",
        f"--tls-key={server.key}",
        "--https-address=127.0.0.1:0",
        *flags,
    )
    line = await nsqd.wait_for_log("HTTPS: listening on ")
    return Target(
        {
            "NSQD_TCP": nsqd.tcp_address,
            "NSQD_HTTP": nsqd.http_address,
            "NSQD_HTTPS": line.rpartition(" ")[2],
        },
        forgets=forgets,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(cluster: Cluster) -> Target:
    return await tls_target(cluster, forgets=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls_required_target(cluster: Cluster) -> Target:
    return await tls_target(cluster, "--tls-required=true")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls_tcp_https_target(cluster: Cluster) -> Target:
    return await tls_target(cluster, "--tls-required=tcp-https")


@pytest.mark.parametrize("case", case_params("nsqd_tcp"))
async def test_tcp(case: Case, target: Target) -> None:
    await asyncio.to_thread(retell, case, target)


def retell(case: Case, target: Target) -> None:
    if case.name == "fin_after_timeout":  # the recorder waited for it, which was not recorded
        events = [*case.events[:9], {"timeouts": 1}, *case.events[9:]]
        case = replace(case, events=events)
    replay(case, target, handlers=HANDLERS, ignored=MEASURED)


@pytest.mark.parametrize("case", case_params("nsqd_tls_required"))
async def test_tls_required(case: Case, tls_required_target: Target) -> None:
    await asyncio.to_thread(replay, case, tls_required_target)


@pytest.mark.parametrize("case", case_params("nsqd_tls_tcp_https"))
async def test_tls_required_for_tcp_and_https(case: Case, tls_tcp_https_target: Target) -> None:
    await asyncio.to_thread(replay, case, tls_tcp_https_target)


# What the recorder saw beside frames and HTTP answers


def expect_client(run: Replay, event: Event) -> None:
    """The TLS client of the case in /stats; it ended its handshake a moment ago."""
    clients = [
        client
        for topic in run.get_json("/stats?format=json")["topics"]
        for channel in topic["channels"]
        for client in channel["clients"]
        if client["tls"]
    ]
    assert clients
    expected = dict(event["client"])
    expected["tls_version"] = "TLS1.3"  # the recorder's client was an older one
    assert {key: clients[-1][key] for key in expected} == expected


def expect_producers(run: Replay, event: Event) -> None:
    run.expect(event["producers"], producers_of(run, "tc_producer"))


def producers_of(run: Replay, topic: str) -> Any:
    stats = run.get_json(f"/stats?format=json&topic={topic}")
    return [producer for producer in stats["producers"] if "pub_counts" in producer]


def expect_text(run: Replay, event: Event) -> None:
    answer = run.request({"method": "GET", "path": "/stats?topic=tc_text&include_mem=false"})
    start = answer.body.index("\nTopics:")
    run.expect(event["text"], answer.body[start : answer.body.index("\nProducers:")])


def wait_for_timeout(run: Replay, event: Event) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        (topic,) = run.get_json("/stats?format=json&topic=tc_late")["topics"]
        if topic["channels"][0]["timeout_count"] == event["timeouts"]:
            return
        time.sleep(0.02)
    raise AssertionError("the message did not time out")


def expect_few(run: Replay, event: Event) -> None:
    published = {"method": "POST", "path": "/mpub?topic=tc_sample", "body": "x\n" * 90}
    run.request(published)
    received = 0
    while True:
        try:
            frame = run.next_frame(event, 0.3)
        except TimeoutError:
            break
        received += frame.kind == "message"
    assert received < 90 / 4


HANDLERS = {
    "client": expect_client,
    "producers": expect_producers,
    "text": expect_text,
    "timeouts": wait_for_timeout,
    "received_less_than_a_quarter": expect_few,
}
