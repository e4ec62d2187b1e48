"""
What NSQ 1.3.0's nsqadmin answered, asked again of ours, in front of our nsqlookupd and nsqds.

The recorder had published messages before the case ``with_data``, and a topic was gone from its
node when it tried tombstones; the replay makes the same of a cluster without topics before each
case. What the nsqadmins told the notification
endpoint and asked Graphite is read from servers of our own.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio
from aiohttp import web

from tests.support.processes import (
    Admin,
    Cluster,
    Lookupd,
    Nsqd,
    eventually,
    free_port,
    running_cluster,
)
from tests.support.transcripts import (
    Case,
    Event,
    Replay,
    Target,
    case_params,
    forget_topics,
    load_cases,
    replay,
)

# The first case waits for thirteen daemons to start.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

NOTIFIED_SECONDS_MAX = 5.0
STARTS_MAX = 2  # at a time: of more each would take too long


@dataclass
class Listener:
    """A server that notes what it is asked. Graphite's answer is the recorder's."""

    address: str = ""
    requests: list[dict[str, object]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        asked: dict[str, object] = {"method": request.method, "path": request.raw_path}
        if request.method == "POST":
            asked["content_type"] = request.headers.get("Content-Type", "")
            asked["json"] = await request.json()
        self.requests.append(asked)
        self.changed.set()
        body = b'[{"target":"t","datapoints":[[300.0,1400000000]]}]'
        return web.Response(body=body, headers={"Content-Type": "application/json"})

    async def take(self, count: int) -> list[dict[str, object]]:
        """Return what was asked, once it is so many requests."""
        async with asyncio.timeout(NOTIFIED_SECONDS_MAX):
            while len(self.requests) < count:
                self.changed.clear()
                await self.changed.wait()
        taken, self.requests = self.requests, []
        return taken


@dataclass
class Stage:
    """Everything that the recorder had."""

    target: Target
    notified: Listener
    graphite: Listener
    nsqd_a: Nsqd
    nsqd_b: Nsqd
    lookupd: Lookupd

    async def wait_until_listed(self, producers: dict[str, int]) -> None:
        """Wait until the directory lists these topics, with so many producers, and no others."""

        async def is_listed() -> bool:
            topics = (await self.lookupd.get_json("/topics"))["topics"]
            found = {topic: len(await self._producers(topic)) for topic in topics}
            return found == producers

        await eventually(is_listed, f"{producers} at the directory")

    async def _producers(self, topic: str) -> list[object]:
        answer = await self.lookupd.get_json(f"/lookup?topic={topic}")
        producers: list[object] = answer["producers"]
        return producers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("golden")) as cluster:
        yield cluster


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener = Listener()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", listener.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        listener.address = "{}:{}".format(*runner.addresses[0][:2])
        yield listener
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(cluster: Cluster) -> AsyncIterator[Stage]:
    async with listening() as notified, listening() as graphite:
        yield await set_stage(cluster, notified, graphite)


async def set_stage(cluster: Cluster, notified: Listener, graphite: Listener) -> Stage:
    lookupd = await cluster.lookupd()
    nsqds = await asyncio.gather(*(cluster.nsqd(lookupds=[lookupd]) for _ in range(2)))
    # Answers are sorted by address, and the recorder's A came first.
    nsqd_a, nsqd_b = sorted(nsqds, key=lambda node: node.http_address)
    dead = f"127.0.0.1:{free_port()}"
    dead_lookupd, dead_nsqd = f"--lookupd-http-address={dead}", f"--nsqd-http-address={dead}"
    graphite_url = f"--graphite-url=http://{graphite.address}"
    side_by_side = asyncio.Semaphore(STARTS_MAX)

    async def starting(
        *flags: str, lookupds: Iterable[Lookupd] = (), nsqds: Iterable[Nsqd] = ()
    ) -> Admin:
        async with side_by_side:
            return await cluster.admin(*flags, lookupds=lookupds, nsqds=nsqds)

    starts = {
        "NSQADMIN": starting(
            f"--notification-http-endpoint=http://{notified.address}/hook",
            graphite_url,
            lookupds=[lookupd],
        ),
        "NSQADMIN_DIRECT": starting(nsqds=[nsqd_a, nsqd_b]),
        "NSQADMIN_ACL": starting(
            "--admin-user=alice", "--admin-user=bob", "--acl-http-header=X-User", lookupds=[lookupd]
        ),
        "NSQADMIN_BASE": starting("--base-path=/nsq/", lookupds=[lookupd]),
        "NSQADMIN_CIDR": starting("--allow-config-from-cidr=10.0.0.0/8", lookupds=[lookupd]),
        "NSQADMIN_NOCIDR": starting("--allow-config-from-cidr=", lookupds=[lookupd]),
        "NSQADMIN_HALF": starting(dead_lookupd, lookupds=[lookupd]),
        "NSQADMIN_DEAD": starting(dead_lookupd),
        "NSQADMIN_HALFNSQD": starting(dead_nsqd, nsqds=[nsqd_a]),
        "NSQADMIN_PROXY": starting(graphite_url, "--proxy-graphite", lookupds=[lookupd]),
    }
    admins = dict(zip(starts, await asyncio.gather(*starts.values()), strict=True))
    addresses = {
        **{name: admin.http_address for name, admin in admins.items()},
        "LOOKUPD_HTTP": lookupd.http_address,
        "NSQD_A_HTTP": nsqd_a.http_address,
        "NSQD_A_TCP": nsqd_a.tcp_address,
        "NSQD_B_HTTP": nsqd_b.http_address,
        "NSQD_B_TCP": nsqd_b.tcp_address,
        "NOTIFY": notified.address,
        "GRAPHITE": graphite.address,
        "DEAD": dead,
    }
    target = Target(addresses, tcp="NSQD_A_TCP", http="NSQADMIN")
    return Stage(target, notified, graphite, nsqd_a, nsqd_b, lookupd)


NAMES = [case.name for case in load_cases("nsqadmin_api")]


async def begin_as_the_recorder(stage: Stage, case: Case) -> None:
    await asyncio.to_thread(forget_topics, replace(stage.target, http="LOOKUPD_HTTP"))
    for http in ("NSQD_A_HTTP", "NSQD_B_HTTP"):
        await asyncio.to_thread(forget_topics, replace(stage.target, http=http))
    await stage.wait_until_listed({})
    if NAMES.index(case.name) < NAMES.index("with_data"):
        return
    await publish_what_the_recorder_had(stage)
    await stage.wait_until_listed({"na_t": 2, "na_only_a": 1})
    if NAMES.index(case.name) >= NAMES.index("tombstone_bad_json"):
        await stage.nsqd_a.post("/topic/delete?topic=na_only_a")
        await stage.wait_until_listed({"na_t": 2, "na_only_a": 0})
    if case.name.endswith("_dead"):
        await asyncio.to_thread(consume_what_the_recorder_did, stage)
    if case.name == "delete_channel":
        for node in (stage.nsqd_a, stage.nsqd_b):
            await node.post("/channel/create?topic=na_t&channel=ch2")


def consume_what_the_recorder_did(stage: Stage) -> None:
    (case,) = (each for each in load_cases("nsqadmin_api") if each.name == "with_data")
    events = [event for event in case.events if "http" not in event]
    replay(replace(case, name="its consumer", events=events), stage.target)


async def publish_what_the_recorder_had(stage: Stage) -> None:
    for node in (stage.nsqd_a, stage.nsqd_b):
        await node.post("/topic/create?topic=na_t")
        await node.post("/channel/create?topic=na_t&channel=ch")
    await stage.nsqd_a.post("/topic/create?topic=na_only_a")
    await stage.nsqd_a.post("/pub?topic=na_t", b"hello")
    await stage.nsqd_a.post("/pub?topic=na_t", b"again")
    await stage.nsqd_b.post("/pub?topic=na_t", b"there")


@pytest.mark.parametrize("case", case_params("nsqadmin_api"))
async def test_api(case: Case, stage: Stage) -> None:
    loop = asyncio.get_running_loop()
    await begin_as_the_recorder(stage, case)

    def take(listener: Listener, count: int) -> list[dict[str, object]]:
        return asyncio.run_coroutine_threadsafe(listener.take(count), loop).result()

    def expect_notifications(run: Replay, event: Event) -> None:
        recorded = event["notifications"]
        run.expect(recorded, take(stage.notified, len(recorded)))

    def expect_asked(run: Replay, event: Event) -> None:
        recorded = event["graphite_asked"]
        run.expect(recorded, take(stage.graphite, len(recorded)))

    def topics_at(run: Replay, node: str) -> list[dict[str, object]]:
        spec = {"method": "GET", "path": "/stats?format=json", "to": f"<NSQD_{node}_HTTP>"}
        topics = json.loads(run.request(spec).body)["topics"] or []
        return [topic for topic in topics if topic["topic_name"] == "na_t"]

    def expect_topic_paused(run: Replay, event: Event) -> None:
        (topic,) = topics_at(run, "A")
        run.expect(event["paused_at_A"], topic["paused"])

    def expect_channel(run: Replay, event: Event) -> None:
        (topic,) = topics_at(run, "B")
        channels: list[dict[str, object]] = topic["channels"]  # type: ignore[assignment]
        channel = next(each for each in channels if each["channel_name"] == "ch")
        run.expect(event["paused_at_B"], channel["paused"])
        if "depth_at_B" in event:
            run.expect(event["depth_at_B"], channel["depth"])

    def expect_no_topic(run: Replay, event: Event) -> None:
        node = "A" if "topics_at_A" in event else "B"
        assert event[f"topics_at_{node}"] is None
        assert topics_at(run, node) == []

    handlers = {
        "notifications": expect_notifications,
        "graphite_asked": expect_asked,
        "paused_at_A": expect_topic_paused,
        "paused_at_B": expect_channel,
        "topics_at_A": expect_no_topic,
        "topics_at_B": expect_no_topic,
    }
    stage.notified.requests.clear()
    stage.graphite.requests.clear()
    await asyncio.to_thread(replay, case, stage.target, handlers=handlers)
