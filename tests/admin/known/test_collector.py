"""The collector, over prepared daemons on real sockets."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from nsqx.admin.known.collector import Collector
from nsqx.admin.shown.documents import channel_document, topic_document
from nsqx.cluster.health import DaemonState
from nsqx.cluster.http import DaemonHttp, HangingError
from nsqx.cluster.merge import ClusterSnapshot, merge
from nsqx.cluster.registry import inputs_of, registry_of
from nsqx.cluster.rows import QuantileRow
from nsqx.cluster.watch import Watch
from tests.support.cluster_views import cluster_view, lookupd_view, node_view, producer
from tests.support.fake_http import FakeHttp, fake_http
from tests.support.processes import eventually, free_port
from tests.support.stream_server import stream_server

INTERVAL_S, PATIENCE_S, FORGET_S = 0.05, 1.0, 0.5


@pytest.fixture
async def http() -> AsyncIterator[DaemonHttp]:
    async with DaemonHttp() as http:
        yield http


def collector(http: DaemonHttp, *lookupds: str, nsqds: tuple[str, ...] = ()) -> Collector:
    return Collector(
        http, list(lookupds), nsqds, interval_s=INTERVAL_S, forget_s=FORGET_S, patience_s=PATIENCE_S
    )


def listing(*nsqds: FakeHttp) -> dict[str, Any]:
    """What a lookupd answers that lists these."""
    producers = [
        {
            "broadcast_address": "127.0.0.1",
            "tcp_port": 4150,
            "http_port": int(nsqd.address.rpartition(":")[2]),
            "hostname": "host",
            "version": "1.3.0",
            "topics": ["t"],
            "tombstones": [False],
        }
        for nsqd in nsqds
    ]
    return {
        "/nodes": {"producers": producers},
        "/topics": {"topics": ["t"]},
        "/info": {"version": "1.3.0"},
        "/channels": {"channels": ["c"]},
    }


def stats(depth: int = 1, messages: int = 5, start_time: int = 1) -> dict[str, Any]:
    channel = {"channel_name": "c", "depth": depth, "message_count": messages}
    topic = {"topic_name": "t", "message_count": messages, "channels": [channel]}
    return {"version": "1.3.0", "health": "OK", "start_time": start_time, "topics": [topic]}


async def until(check: Callable[[], object], what: str) -> None:
    async def checked() -> bool:
        return bool(check())

    await eventually(checked, what)


async def test_nodes_that_a_lookupd_lists_are_asked(http: DaemonHttp) -> None:
    async with (
        fake_http({"/stats": stats()}) as nsqd,
        fake_http(listing(nsqd)) as lookupd,
        collector(http, lookupd.address) as collecting,
    ):
        await until(lambda: "t/c" in merge(collecting.view()).channels, "the channel is seen")
        snapshot = merge(collecting.view())
    assert snapshot.channels["t/c"].depth == 1
    assert snapshot.nodes[nsqd.address].lookupds == [lookupd.address]
    assert snapshot.lookupds[lookupd.address].version == "1.3.0"


async def test_a_foreign_nsqd_is_asked_for_metrics_once(http: DaemonHttp) -> None:
    async with fake_http({"/stats": stats(), "/info": {"broadcast_address": "x"}}) as nsqd:
        nsqd.answers["/info"] = {"broadcast_address": "h", "tcp_port": 1, "http_port": 2}
        async with collector(http, nsqds=(nsqd.address,)) as collecting:
            await until(lambda: len(nsqd.requests) > 20, "it was asked often")
            (node,) = collecting.view().nodes
    assert node.metrics is None
    assert nsqd.requests.count("/metrics") == 1
    assert node.tcp_address == "h:1"


async def test_our_nsqd_tells_more(http: DaemonHttp) -> None:
    metrics = (
        "# HELP nsqd_disk_free_bytes x\n"
        "nsqd_disk_free_bytes 12345\n"
        "nsqd_event_loop_lag_seconds_sum 0.5\nnsqd_event_loop_lag_seconds_count 100\n"
        'nsqd_topic_log_bytes{topic="t"} 77\n'
        'nsqd_channel_oldest_unfinished_age_seconds{topic="t",channel="c"} 60.4\n'
        'nsqd_channel_oldest_unfinished_age_seconds{topic="t",channel="d"} 0\n'
    )
    answers = {"/stats": stats(), "/metrics": metrics}
    async with (
        fake_http(answers) as nsqd,
        fake_http(listing(nsqd)) as lookupd,
        collector(http, lookupd.address) as collecting,
    ):
        await until(lambda: merge(collecting.view()).totals.oldest_at, "the age is known")
        snapshot = merge(collecting.view())
    row = snapshot.nodes[nsqd.address]
    assert (row.is_nsqx, row.disk_free, row.loop_lag) == (True, 12345, 0.005)
    oldest_at = snapshot.channels["t/c"].oldest_at
    assert oldest_at is not None
    assert time.time() - oldest_at == pytest.approx(61, abs=2)
    assert snapshot.topics["t"].log_bytes == 77


async def test_clients_are_asked_for_now_and_then(http: DaemonHttp) -> None:
    async with fake_http({"/stats": stats()}) as nsqd, fake_http(listing(nsqd)) as lookupd:

        def shares() -> tuple[int, int]:
            asked = [request for request in nsqd.requests if request.startswith("/stats")]
            with_clients = [each for each in asked if "include_clients=true" in each]
            return len(with_clients), len(asked)

        async with collector(http, lookupd.address) as collecting:
            await until(lambda: shares()[1] >= 20, "it was asked often")
            few, all_of_them = shares()
            assert few <= all_of_them / 4
            nsqd.requests.clear()
            collecting.is_watching_clients = True
            await until(lambda: shares()[1] >= 20, "it was asked often")
            many, all_of_them = shares()
            assert many >= all_of_them / 3


def connections_to(silent: socket.socket) -> int:
    """Take the connections that were made to a server since the last call, and count them."""
    silent.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            silent.accept()[0].close()
            count += 1
    return count


async def test_a_node_that_hangs_costs_others_nothing(http: DaemonHttp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = "{}:{}".format(*silent.getsockname())
        answers = {
            "/stats": stats(),
            "/info": {"broadcast_address": "", "tcp_port": 1, "http_port": 1},
        }
        async with fake_http(answers) as nsqd:
            async with collector(http, nsqds=(nsqd.address, hanging)) as collecting:
                await until(lambda: collecting.is_hanging(hanging), "the breaker is open")
                view = collecting.view()
                assert not collecting.is_hanging(nsqd.address)
                node = view.node(hanging)
                assert node is not None
                assert (node.state, node.error) == (DaemonState.UNREACHABLE, "no answer in time")
                asked = len(nsqd.requests)
                await until(lambda: len(nsqd.requests) > asked + 5, "the other is asked on")
            # Nobody waits for the one that is known to hang: it is not even asked.
            connections_to(silent)
            result = await http.ask_all([hanging], "/stats", dict)
            assert connections_to(silent) == 0
            assert "no answer in time" in str(result.errors[hanging])


async def test_a_slow_node_is_slow_and_not_dead(http: DaemonHttp) -> None:
    body = json.dumps(stats()).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(2 * INTERVAL_S)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)

    states: list[DaemonState] = []
    async with stream_server(answer) as address:
        producer = {"broadcast_address": "127.0.0.1", "tcp_port": 1}
        nodes = {"producers": [{**producer, "http_port": int(address.partition(":")[2])}]}
        async with (
            fake_http({**listing(), "/nodes": nodes}) as lookupd,
            collector(http, lookupd.address) as collecting,
        ):

            def has_answered_often() -> bool:
                node = collecting.view().node(address)
                if node is None or node.observed_at is None:
                    return False
                states.append(node.state)
                return len(states) > 20

            await until(has_answered_often, "it answers")
            node = collecting.view().node(address)
            assert node is not None
            assert node.answer_ms >= 2000 * INTERVAL_S
    assert set(states) == {DaemonState.OK}


async def test_who_has_asked_already_is_told_when_a_node_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = "{}:{}".format(*silent.getsockname())
        # By themselves these would wait for ten minutes.
        async with (
            asyncio.timeout(60),
            DaemonHttp(request_s=600) as http,
            collector(http, nsqds=(hanging,)),
        ):
            reading = asyncio.create_task(http.get(hanging, "/topic/peek"))
            changing = asyncio.create_task(http.post(hanging, "/topic/pause"))
            with pytest.raises(HangingError, match=r"peek.*no answer in time"):
                await reading
            assert not changing.done()
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)


async def test_a_node_that_nobody_lists_any_more_is_shown_for_a_while(http: DaemonHttp) -> None:
    async with (
        fake_http({"/stats": stats()}) as nsqd,
        fake_http(listing(nsqd)) as lookupd,
        collector(http, lookupd.address) as collecting,
    ):
        await until(lambda: collecting.view().nodes_with("t"), "the node is seen")
        collecting._forget_s = 600.0  # else it may be gone before anybody has looked
        lookupd.answers["/nodes"] = {"producers": []}
        nsqd.answers["/stats"] = ConnectionResetError

        def is_stale() -> bool:
            node = collecting.view().node(nsqd.address)
            return node is not None and node.state is DaemonState.STALE

        await until(is_stale, "it is shown as stale")
        assert collecting.view().nodes_with("t")
        collecting._forget_s = 0.0
        await until(lambda: not collecting.view().nodes, "it is forgotten")


async def test_without_any_lookupd_the_nodes_stay(http: DaemonHttp) -> None:
    async with (
        fake_http({"/stats": stats()}) as nsqd,
        fake_http(listing(nsqd)) as lookupd,
        collector(http, lookupd.address) as collecting,
    ):
        await until(lambda: collecting.view().nodes_with("t"), "the node is seen")
        lookupd.answers["/nodes"] = ConnectionResetError
        # So often that it takes longer than a node is remembered.
        enough = len(nsqd.requests) + int(2 * FORGET_S / INTERVAL_S)
        await until(lambda: len(nsqd.requests) > enough, "the node is asked on")
        assert collecting.view().nodes_with("t")


async def test_a_restart_is_told(http: DaemonHttp) -> None:
    told: list[str] = []
    async with (
        fake_http({"/stats": stats()}) as nsqd,
        fake_http(listing(nsqd)) as lookupd,
        collector(http, lookupd.address) as collecting,
    ):
        collecting.on_restart = lambda address, _at: told.append(address)
        await until(lambda: merge(collecting.view()).channels, "the node is seen")
        nsqd.answers["/stats"] = stats(start_time=2)
        await until(lambda: told, "the restart is told")
        (node,) = collecting.view().nodes
    assert told == [nsqd.address]
    assert node.restarted_at is not None


async def test_lookupds_that_come_and_go(http: DaemonHttp) -> None:
    async with (
        fake_http({"/stats": stats()}) as nsqd,
        fake_http(listing(nsqd)) as one,
        fake_http(listing(nsqd)) as two,
    ):
        addresses = [one.address]
        async with Collector(http, addresses, (), interval_s=INTERVAL_S) as collecting:
            await until(lambda: collecting.view().nodes_with("t"), "the node is seen")
            addresses[:] = [two.address]
            collecting.reconcile()
            await until(
                lambda: merge(collecting.view()).nodes[nsqd.address].lookupds == [two.address],
                "the other lookupd lists it",
            )
            (lookupd,) = collecting.view().lookupds
            assert lookupd.found


async def test_channels_of_topics_without_nodes_come_from_lookupds(http: DaemonHttp) -> None:
    answers = {**listing(), "/topics": {"topics": ["old"]}}
    async with (
        fake_http(answers) as lookupd,
        collector(http, lookupd.address) as collecting,
    ):
        await until(
            lambda: collecting.view().lookupds[0].channels == {"old": ["c"]}, "the channels"
        )


async def test_of_very_many_topics_without_nodes_the_first_are_taken_up(http: DaemonHttp) -> None:
    answers = listing()
    answers["/topics"] = {"topics": [f"rubbish{number:05}" for number in range(5000)]}
    async with (
        fake_http(answers) as lookupd,
        collector(http, lookupd.address) as collecting,
    ):
        await until(lambda: merge(collecting.view()).topics, "they are seen")
        view = collecting.view()
    snapshot = merge(view)
    assert sorted(snapshot.topics) == [f"rubbish{number:05}" for number in range(1000)]
    row = snapshot.lookupds[lookupd.address]
    assert (row.topics, row.left_out) == (5000, 4000)
    watch = Watch()
    for at_s in (0.0, 60.0):
        watch.judge(snapshot := replaced(snapshot, at_s), registry_of(view))
    told = [each.text for each in snapshot.attention if each.lookupd]
    assert told == [f"nsqlookupd {lookupd.address} lists 4,000 more topics without a node"]


def replaced(snapshot: ClusterSnapshot, at_s: float) -> ClusterSnapshot:
    return msgspec.structs.replace(snapshot, t=at_s, at_s=at_s)


async def test_a_dead_address_is_unreachable_at_once(http: DaemonHttp) -> None:
    dead = f"127.0.0.1:{free_port()}"
    async with collector(http, dead) as collecting:
        await until(
            lambda: collecting.view().lookupds[0].state is DaemonState.UNREACHABLE, "it is dead"
        )
        assert "connection refused" in collecting.view().lookupds[0].error
        assert not collecting.is_hanging(dead)


async def test_what_a_lookupd_says_again_is_the_same_object(http: DaemonHttp) -> None:
    async with (
        fake_http({"/stats": stats()}) as nsqd,
        fake_http(listing(nsqd)) as lookupd,
        collector(http, lookupd.address) as collecting,
    ):

        def node_is_known() -> bool:
            view = collecting.view()
            return bool(view.nodes) and view.nodes[0].is_current

        await until(node_is_known, "all have answered")
        before = collecting.view()
        asked = len(lookupd.requests)
        await until(lambda: len(lookupd.requests) > asked + 4, "it was asked again")
        after = collecting.view()
        assert after.lookupds[0].producers is before.lookupds[0].producers
        assert inputs_of(after) == inputs_of(before)
        lookupd.answers["/topics"] = {"topics": ["t", "u"]}
        await until(lambda: "u" in collecting.view().lookupds[0].topics, "news are seen")
        assert inputs_of(collecting.view()) != inputs_of(before)


async def test_latencies_come_with_the_clients(http: DaemonHttp) -> None:
    latency = {"count": 1, "percentiles": [{"quantile": 0.99, "value": 2_000_000.0}]}
    answer = stats()
    answer["topics"][0]["e2e_processing_latency"] = latency
    answer["topics"][0]["channels"][0]["e2e_processing_latency"] = latency
    async with (
        fake_http({"/stats": answer}) as nsqd,
        collector(http, nsqds=(nsqd.address,)) as collecting,
    ):
        await until(lambda: len(nsqd.requests) > 5, "it was asked without clients too")
        view = collecting.view()
    for document in (
        topic_document(view, merge(view), "t"),
        channel_document(view, merge(view), "t", "c"),
    ):
        assert document is not None
        assert document["nodes"][nsqd.address].e2e == [QuantileRow(0.99, 0.002)]


async def test_a_node_that_fails_to_tell_its_metrics_once_is_no_foreign_one(
    http: DaemonHttp,
) -> None:
    answers = {"/stats": stats(), "/metrics": (500, "busy")}
    async with fake_http(answers) as nsqd, collector(http, nsqds=(nsqd.address,)) as collecting:
        await until(lambda: nsqd.requests.count("/metrics") > 1, "it is asked again")
        nsqd.answers["/metrics"] = "nsqd_disk_free_bytes 12345\n"
        await until(lambda: collecting.view().nodes[0].metrics, "it has told")


async def test_metrics_that_are_old_are_unknown(http: DaemonHttp) -> None:
    answers = {"/stats": stats(), "/metrics": "nsqd_disk_free_bytes 12345\n"}
    async with fake_http(answers) as nsqd, collector(http, nsqds=(nsqd.address,)) as collecting:
        await until(lambda: collecting.view().nodes[0].metrics, "it has told")
        nsqd.answers["/metrics"] = (500, "busy")
        await until(lambda: not collecting.view().nodes[0].metrics, "that is too old")


def test_a_node_that_never_answered_has_its_row_on_the_page_of_a_topic() -> None:
    lookupd = lookupd_view("l1:1", producer("n1:4151", {"t": False}))
    unheard = replace(node_view(state=DaemonState.UNREACHABLE), observed_at=None)
    view = cluster_view(unheard, lookupds=[lookupd])
    document = topic_document(view, merge(view), "t")
    assert document is not None
    row = msgspec.to_builtins(document["nodes"]["n1:4151"])
    assert row.pop("state") == "unreachable"
    assert row.pop("tombstoned") is False
    assert set(row.values()) == {None}
