"""The lines for statsd, their packets, and what arrives by UDP."""

import asyncio
import socket
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nsqx.net.addresses import TcpAddress
from nsqx.nsqd.core.topic import Refusal
from nsqx.nsqd.telling.statsd import StatsdReport, packets, prefix_of
from nsqx.nsqd.telling.statsd_pusher import StatsdPusher
from tests.support.node import Node, running_node

SECOND_NS = 10**9


def report(node: Node, *, exclude_ephemeral: bool = False) -> StatsdReport:
    return StatsdReport(node.broker, "nsq.", exclude_ephemeral=exclude_ephemeral)


def lines_of(report: StatsdReport, memory: dict[str, int] | None = None) -> list[str]:
    return [line.rstrip("\n") for line in report.lines(memory)]


async def test_lines_come_by_name_in_nsqs_order(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        for path in ("/topic/create?topic=zz", "/topic/create?topic=aa"):
            await node.post(path)
        await node.post("/channel/create?topic=aa&channel=c2")
        await node.post("/channel/create?topic=aa&channel=c1")
        await node.post("/mpub?topic=aa", b"one\ntwo")
        await node.post("/pub?topic=aa&defer=60000", b"later")
        lines = lines_of(report(node))
    assert lines == [
        "nsq.topic.aa.message_count:3|c",
        "nsq.topic.aa.message_bytes:11|c",
        "nsq.topic.aa.depth:0|g",
        "nsq.topic.aa.backend_depth:0|g",
        *(
            f"nsq.topic.aa.channel.{channel}.{line}"
            for channel in ("c1", "c2")
            for line in (
                "message_count:3|c",
                "depth:2|g",
                "backend_depth:0|g",
                "in_flight_count:0|g",
                "deferred_count:1|g",
                "requeue_count:0|c",
                "timeout_count:0|c",
                "clients:0|g",
            )
        ),
        "nsq.topic.zz.message_count:0|c",
        "nsq.topic.zz.message_bytes:0|c",
        "nsq.topic.zz.depth:0|g",
        "nsq.topic.zz.backend_depth:0|g",
    ]


async def test_counters_are_what_was_added_since_the_last_round(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        statsd = report(node)
        await node.post("/mpub?topic=t", b"a\nb\nc")
        assert lines_of(statsd)[0] == "nsq.topic.t.message_count:3|c"
        await node.post("/pub?topic=t", b"d")
        assert lines_of(statsd)[0] == "nsq.topic.t.message_count:1|c"
        assert lines_of(statsd)[0] == "nsq.topic.t.message_count:0|c"


async def test_what_nsq_does_not_count_is_told_once_it_happened(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        statsd = report(node)
        await node.post("/topic/create?topic=t")
        assert not any("refused" in line for line in lines_of(statsd))
        node.broker.topics["t"].refused[Refusal.DISK_FULL] += 3
        assert lines_of(statsd)[4:] == ["nsq.topic.t.refused_disk_full_count:3|c"]
        assert lines_of(statsd)[4:] == ["nsq.topic.t.refused_disk_full_count:0|c"]


async def test_a_topic_that_was_made_again_gives_a_signed_difference(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        statsd = report(node)
        await node.post("/mpub?topic=t", b"a\nb\nc")
        lines_of(statsd)
        await node.post("/topic/delete?topic=t")
        await node.post("/pub?topic=t", b"d")
        assert lines_of(statsd)[0] == "nsq.topic.t.message_count:-2|c"


async def test_a_topic_that_was_gone_for_a_round_begins_from_zero(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        statsd = report(node)
        await node.post("/mpub?topic=t", b"a\nb\nc")
        lines_of(statsd)
        await node.post("/topic/delete?topic=t")
        assert lines_of(statsd) == []
        await node.post("/pub?topic=t", b"d")
        assert lines_of(statsd)[0] == "nsq.topic.t.message_count:1|c"


async def test_ephemeral_ones_are_left_out_on_demand(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        await node.post("/topic/create?topic=t%23ephemeral")
        await node.post("/channel/create?topic=t&channel=c%23ephemeral")
        every = "\n".join(lines_of(report(node)))
        assert "topic.t#ephemeral.depth" in every
        assert "channel.c#ephemeral.depth" in every
        assert "ephemeral" not in "\n".join(lines_of(report(node, exclude_ephemeral=True)))


async def test_memory_comes_last_and_collections_are_counted(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        statsd = report(node)
        memory = node.nsqd.memory.read()
        names = [line.partition(":")[0] for line in lines_of(statsd, memory)]
        assert names == [
            "nsq.mem.heap_objects",
            "nsq.mem.heap_idle_bytes",
            "nsq.mem.heap_in_use_bytes",
            "nsq.mem.heap_released_bytes",
            "nsq.mem.gc_pause_usec_100",
            "nsq.mem.gc_pause_usec_99",
            "nsq.mem.gc_pause_usec_95",
            "nsq.mem.next_gc_bytes",
            "nsq.mem.gc_runs",
        ]
        memory["gc_total_runs"] += 5
        assert lines_of(statsd, memory)[-1] == "nsq.mem.gc_runs:5|c"


async def test_percentiles_are_named_by_a_whole_number(tmp_path: Path) -> None:
    async with running_node(tmp_path, e2e_processing_latency_percentile=[1.0, 0.995, 0.99]) as node:
        await node.post("/topic/create?topic=t")
        latencies = node.nsqd.latencies
        statsd = StatsdReport(
            node.broker, "", quantiles=latencies.quantiles, window_of=latencies.window_of
        )
        assert not any("e2e" in line for line in lines_of(statsd))  # no channel, no latency
        await node.post("/channel/create?topic=t&channel=c")
        names = [line.partition(":")[0] for line in lines_of(statsd) if "e2e" in line]
    percentiles = ["100", "100", "99"]
    assert names == [
        *(f"topic.t.e2e_processing_latency_{percent}" for percent in percentiles),
        *(f"topic.t.channel.c.e2e_processing_latency_{percent}" for percent in percentiles),
    ]


@given(st.lists(st.text("ab", max_size=30).map(lambda text: text + "\n")), st.integers(1, 40))
def test_packets_hold_whole_lines_in_order_and_no_more_than_fits(
    lines: list[str], bytes_max: int
) -> None:
    made = packets(lines, bytes_max)
    assert b"".join(made).decode() == "".join(lines)
    for packet in made:
        assert packet.endswith(b"\n")
        assert len(packet) <= bytes_max or packet.count(b"\n") == 1


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("nsq.%s", "nsq.127_0_0_1_4151."),
        ("x.%s.y", "x.127_0_0_1_4151.y."),
        ("a.", "a."),
        ("%s%s", "127_0_0_1_4151127_0_0_1_4151."),
        ("", ""),
    ],
)
def test_prefix(pattern: str, prefix: str) -> None:
    assert prefix_of(pattern, "127.0.0.1:4151") == prefix


def test_the_prefix_of_a_node_at_an_ipv6_address_tells_host_and_port_apart() -> None:
    assert prefix_of("nsq.%s", "[::1]:4151") == "nsq.[__1]_4151."  # as Go's


async def test_a_daemon_pushes_by_udp(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.setblocking(False)
        async with running_node(
            tmp_path,
            statsd_address=f"127.0.0.1:{statsd.getsockname()[1]}",
            statsd_interval=SECOND_NS // 20,
            statsd_udp_packet_size=100,
            statsd_prefix="n.%s",
        ) as node:
            await node.post("/pub?topic=t", b"hello")
            received = b""
            async with asyncio.timeout(20):
                while b"mem.gc_runs" not in received:
                    packet = await loop.sock_recv(statsd, 4096)
                    assert len(packet) <= 100
                    received += packet
            prefix = f"n.127_0_0_1_{node.nsqd.http_port}.".encode()
    assert all(line.startswith(prefix) for line in received.splitlines())


async def test_the_packets_of_a_round_are_spread_evenly_but_for_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses_s: list[float] = []

    async def pause(pusher: StatsdPusher, seconds: float) -> bool:
        pauses_s.append(seconds)
        return False

    monkeypatch.setattr(StatsdPusher, "_stopped_within", pause)
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        pusher = StatsdPusher(
            report(node),
            TcpAddress("127.0.0.1", 9),
            interval_s=9.0,
            packet_bytes_max=1,
            memory=lambda: None,
        )
        await pusher.push()
    assert pauses_s == [2.0, 2.0, 2.0, 2.0]


async def test_a_daemon_ends_at_once_in_the_middle_of_a_round(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.setblocking(False)
        async with (
            asyncio.timeout(20),
            running_node(
                tmp_path,
                statsd_address=f"127.0.0.1:{statsd.getsockname()[1]}",
                statsd_interval=3600 * SECOND_NS,
                statsd_udp_packet_size=1,
            ) as node,
        ):
            await node.post("/topic/create?topic=t")
            pusher = node.nsqd._statsd()
            pushing = asyncio.create_task(pusher.push())
            first = await loop.sock_recv(statsd, 4096)
            assert b"topic.t.message_count" in first
            await pusher.stop()
            await pushing
        rest = [statsd.recv(4096) for _ in range(12)]
    assert b"mem.gc_runs" in rest[-1]


async def test_a_bad_address_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="statsd-address"):
        async with running_node(tmp_path, statsd_address="nowhere"):
            pass


async def test_an_address_that_is_no_name_is_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_node(tmp_path) as node:
        pusher = StatsdPusher(
            report(node),
            TcpAddress("statsd..internal", 9),
            interval_s=9.0,
            packet_bytes_max=508,
            memory=lambda: None,
        )
        await pusher.push()
        await pusher.push()
    assert capsys.readouterr().err.count("statsd..internal") == 1
