"""What the recorded answers do not show: effects, refusals by the disk, and requests that meet."""

import asyncio
import errno
import json
from pathlib import Path

import aiohttp
import pytest

from nsqx.nsqd.core.acknowledgements import Acknowledge, PublishError
from nsqx.nsqd.core.topic import Topic
from nsqx.protocol.version import NSQ_VERSION, VERSION
from tests.support.node import running_node


async def test_published_messages_arrive_as_they_were(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await node.post("/pub?topic=t", b"with\nnewlines\r\n\0")
        await node.post("/mpub?topic=t", b"one\n\ntwo\r\n")
        await node.post("/mpub?topic=t&binary=true", b"\0\0\0\1\0\0\0\4\n\n\n\n")
        await client.subscribe("t", "c", ready=10)
        messages = await client.receive(4)
    assert [m.body for m in messages] == [b"with\nnewlines\r\n\0", b"one", b"two\r", b"\n\n\n\n"]


async def test_a_deferred_message_is_not_delivered_before_its_time(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with running_node(tmp_path) as node, node.client() as client:
        await client.subscribe("t", "c", ready=10)
        began_s = loop.time()
        await node.post("/pub?topic=t&defer=300", b"later")
        await node.post("/pub?topic=t", b"now")
        first, second = [*await client.receive(1), *await client.receive(1)]
        assert (first.body, second.body) == (b"now", b"later")
        assert loop.time() - began_s >= 0.3


async def test_the_answer_waits_for_the_commit(tmp_path: Path) -> None:
    async with running_node(tmp_path, durability="fsync") as node:
        topic = node.broker.get_topic("t")
        await node.post("/pub?topic=t", b"a")
        assert topic.log.end == 1
        assert topic._unsynced == []


@pytest.mark.parametrize("path", ["/pub?topic=t", "/mpub?topic=t"])
async def test_publishing_is_refused_when_the_disk_refuses(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running_node(tmp_path) as node:
        with monkeypatch.context() as full_disk:
            full_disk.setattr(node.broker.get_topic("t").log, "append", refuse)
            assert await node.refused("POST", path, b"x") == (503, "EXITING")
            assert await node.request("GET", "/ping") == (500, b"NOK - No space left on device")
        await node.post(path, b"x")
        assert await node.request("GET", "/ping") == (200, b"OK")
        (topic,) = (await node.stats())["topics"]
        assert (topic["refused_count"], topic["refused_disk_full_count"]) == (1, 1)
        assert "refused_ending_count" not in topic
        series = b'nsqd_topic_refused_total{topic="t",reason="disk full"} 1\n'
        assert series in await node.get("/metrics")


async def test_publishing_to_a_topic_that_is_being_deleted_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        topic = node.broker.get_topic("t")
        topic.is_closing = True
        assert await node.refused("POST", "/pub?topic=t", b"x") == (503, "EXITING")


async def test_a_client_that_goes_away_while_its_message_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledges: list[Acknowledge] = []
    gathered = asyncio.Event()

    def never_commit(
        topic: Topic, bodies: list[bytes], due_ns: int, acknowledge: Acknowledge, now_ns: int
    ) -> bool:
        acknowledges.append(acknowledge)
        gathered.set()
        return False

    async with running_node(tmp_path) as node:
        with monkeypatch.context() as hanging:
            hanging.setattr(Topic, "publish", never_commit)
            asking = asyncio.create_task(node.request("POST", "/pub?topic=t", b"x"))
            await gathered.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        for acknowledge in acknowledges:
            acknowledge(PublishError("too late"))
        await node.post("/pub?topic=t", b"x")


async def test_pausing_and_emptying_survive_a_restart(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        for path in ("/topic/create?topic=t", "/channel/create?topic=t&channel=c"):
            await node.post(path)
        await node.post("/mpub?topic=t", b"a\nb")
        await node.post("/channel/empty?topic=t&channel=c")
        await node.post("/pub?topic=t", b"c")
        await node.post("/topic/pause?topic=t")
        await node.post("/channel/pause?topic=t&channel=c")
        await node.post("/pub?topic=t", b"d")
    async with running_node(tmp_path) as node:
        (topic,) = (await node.stats())["topics"]
        (channel,) = topic["channels"]
        assert (topic["depth"], topic["paused"]) == (1, True)
        assert (channel["depth"], channel["paused"]) == (1, True)


async def test_deleting_a_channel_cuts_off_its_clients(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await client.subscribe("t", "c", ready=1)
        await node.post("/channel/delete?topic=t&channel=c")
        assert not await client.read()
        assert (await node.stats())["topics"][0]["channels"] == []


async def test_deleting_a_topic_forgets_its_messages(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await node.post("/pub?topic=t", b"old")
        await node.post("/topic/delete?topic=t")
        await node.post("/pub?topic=t", b"new")
        await client.subscribe("t", "c", ready=10)
        assert [message.body for message in await client.receive(1)] == [b"new"]


async def test_a_request_that_is_too_large_is_refused_before_its_body(tmp_path: Path) -> None:
    async with running_node(tmp_path, max_msg_size=10) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.nsqd.http_port)
        writer.write(b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()
        await writer.wait_closed()


async def test_a_thousand_requests_on_one_connection(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        connector = aiohttp.TCPConnector(limit=1)
        url = f"http://{node.nsqd.http_address}/pub?topic=t"
        async with aiohttp.ClientSession(connector=connector) as session:
            for number in range(1000):
                async with session.post(url, data=b"%d" % number) as answer:
                    assert answer.status == 200
        (topic,) = (await node.stats())["topics"]
        assert topic["depth"] == 1000


async def test_info_names_the_ports_it_listens_on(tmp_path: Path) -> None:
    async with running_node(tmp_path, broadcast_tcp_port=1, broadcast_http_port=2) as node:
        info = await node.get_json("/info")
        assert info["tcp_port"] == node.nsqd.tcp_port
        assert info["http_port"] == node.nsqd.http_port
        assert await node.get("/config/broadcast_tcp_port") == b"1"
        assert await node.get("/config/broadcast_http_port") == b"2"


async def test_config_shows_the_ports_that_others_are_told(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        assert await node.get_json("/config/broadcast_tcp_port") == node.nsqd.tcp_port
        assert await node.get_json("/config/broadcast_http_port") == node.nsqd.http_port


async def test_api_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with running_node(tmp_path, http_address=str(path)):
        connector = aiohttp.UnixConnector(str(path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://nsqd/info") as answer,
        ):
            assert json.loads(await answer.read())["http_port"] == -1


async def test_livez_does_not_ask_the_disk(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node.broker.write_error = OSError(errno.EIO, "Input/output error")
        assert await node.get("/livez") == b"OK"
        node.broker.write_error = None


@pytest.mark.parametrize(
    "path",
    ["", "cmdline", "symbol", "profile", "heap", "goroutine", "block", "threadcreate"],
)
async def test_debug_paths_answer(tmp_path: Path, path: str) -> None:
    async with running_node(tmp_path) as node:
        assert await node.get(f"/debug/pprof/{path}")


async def test_the_stacks_name_threads_and_tasks(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        stacks = await node.get("/debug/pprof/goroutine")
        assert b"thread MainThread" in stacks
        assert b"test_the_stacks_name_threads_and_tasks" in stacks


async def test_metrics_of_what_happened(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await node.post("/mpub?topic=t", b"one\ntwo\nthree")
        await client.subscribe("t", "c", ready=1)
        await client.receive(1)
        await node.post("/pub?topic=t&defer=60000", b"later")
        lines = (await node.get("/metrics")).decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    channel = '{topic="t",channel="c"}'
    expected = {
        'nsqd_topic_messages_total{topic="t"}': 4,
        'nsqd_topic_message_bytes_total{topic="t"}': 16,
        'nsqd_topic_log_segments{topic="t"}': 1,
        f"nsqd_channel_depth{channel}": 2,
        f"nsqd_channel_in_flight{channel}": 1,
        f"nsqd_channel_deferred{channel}": 1,
        f"nsqd_channel_requeues_total{channel}": 0,
        f"nsqd_channel_timeouts_total{channel}": 0,
        f"nsqd_channel_clients{channel}": 1,
        'nsqd_connections{kind="consumer"}': 1,
        "nsqd_commit_seconds_count": 2,
        "nsqd_healthy": 1,
        "nsqd_damages_total": 0,
        "nsqd_lost_messages_total": 0,
    }
    assert {key: float(values[key]) for key in expected} == expected
    assert 0 < float(values[f"nsqd_channel_oldest_unfinished_age_seconds{channel}"]) < 60
    for positive in ("nsqd_disk_free_bytes", "process_resident_memory_bytes"):
        assert float(values[positive]) > 0
    assert "nsqd_event_loop_lag_seconds_count" in values


async def test_oldest_unfinished_age_of_what_is_on_disk_only(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        for path in ("/topic/create?topic=t", "/channel/create?topic=t&channel=c"):
            await node.post(path)
        await node.post("/pub?topic=t", b"x")
    async with running_node(tmp_path) as node:
        metrics = (await node.get("/metrics")).decode()
    line = next(line for line in metrics.splitlines() if "oldest_unfinished_age_seconds{" in line)
    assert 0 < float(line.rsplit(" ", 1)[1]) < 60


async def test_there_are_so_many_topics_and_channels_and_what_is_there_stays(
    tmp_path: Path,
) -> None:
    async with running_node(tmp_path, max_topics=2, max_channels=1) as node:
        for name in ("a", "b", "a"):
            await node.post(f"/pub?topic={name}", b"x")
        await node.post("/channel/create?topic=a&channel=c")
        for path in ("/topic/create?topic=new", "/pub?topic=new", "/mpub?topic=new"):
            assert await node.refused("POST", path, b"x") == (503, "TOO_MANY_TOPICS")
        many = (503, "TOO_MANY_CHANNELS")
        assert await node.refused("POST", "/channel/create?topic=b&channel=c") == many
        async with node.client() as client:
            client.send(b"PUB new\n\0\0\0\1x")
            assert await client.error() == b"E_PUB_FAILED PUB failed too many topics, limit 2"
        async with node.client() as client:
            client.send(b"SUB b c\n")
            assert await client.error() == b"E_SUB_FAILED SUB failed too many channels, limit 1"
    async with running_node(tmp_path, max_topics=1) as node:  # a lower limit takes nothing away
        assert sorted(node.broker.topics) == ["a", "b"]
        await node.post("/pub?topic=b", b"x")


async def test_our_version_stands_beside_that_of_the_protocol(tmp_path: Path) -> None:
    """Clients decide by the first; who wants to know what runs looks at the second."""
    async with running_node(tmp_path) as node, node.client() as client:
        answers = [await node.get_json("/info"), await node.get_json("/stats?format=json")]
        body = b'{"feature_negotiation":true}'
        client.send(b"IDENTIFY\n" + len(body).to_bytes(4, "big") + body)
        answers.append(json.loads(await client.response()))
    assert {(each["version"], each["nsqx_version"]) for each in answers} == {(NSQ_VERSION, VERSION)}
