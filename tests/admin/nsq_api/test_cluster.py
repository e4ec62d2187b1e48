"""What the dashboard makes of the answers of several daemons, over real sockets."""

import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nsqx.admin.nsq_api.cluster import AllFailedError, Cluster, Warnings
from nsqx.cluster.http import DaemonHttp
from tests.support.fake_http import fake_http
from tests.support.processes import free_port


def producer(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "remote_address": f"{name}:5000",
        "hostname": name,
        "broadcast_address": "127.0.0.1",
        "tcp_port": 4150,
        "http_port": 4151,
        "version": "1.3.0",
        "topics": [],
        "tombstones": [],
        **fields,
    }


def topic(name: str, *channels: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"topic_name": name, "channels": list(channels), **fields}


def info(name: str, version: str = "1.3.0") -> dict[str, Any]:
    return producer(name, version=version)


@pytest.fixture
async def http() -> AsyncIterator[DaemonHttp]:
    async with DaemonHttp() as http:
        yield http


async def test_topics_are_the_union_of_what_lookupds_know(http: DaemonHttp) -> None:
    async with (
        fake_http({"/topics": {"topics": ["b", "a"]}}) as one,
        fake_http({"/topics": {"topics": ["c", "a"]}}) as two,
    ):
        cluster = Cluster(http, [one.address, two.address], [])
        warnings = Warnings()
        assert await cluster.topics(warnings) == ["a", "b", "c"]
        assert warnings.message == ""


async def test_topics_of_given_nsqds_come_from_their_stats(http: DaemonHttp) -> None:
    async with (
        fake_http({"/stats": {"topics": [topic("b"), topic("a")]}}) as one,
        fake_http({"/stats": {"topics": None}}) as two,
    ):
        cluster = Cluster(http, [], [one.address, two.address])
        assert await cluster.topics(Warnings()) == ["a", "b"]


async def test_a_dead_lookupd_is_a_warning_as_long_as_another_answers(http: DaemonHttp) -> None:
    dead = f"127.0.0.1:{free_port()}"
    async with fake_http({"/topics": {"topics": ["a"]}}) as alive:
        warnings = Warnings()
        assert await Cluster(http, [dead, alive.address], []).topics(warnings) == ["a"]
    assert warnings.message == (
        f'WARNING: Get "http://{dead}/topics": dial tcp {dead}: connect: connection refused'
    )


async def test_without_any_answer_all_errors_are_told(http: DaemonHttp) -> None:
    dead = f"127.0.0.1:{free_port()}"
    async with fake_http({"/topics": (500, {"message": "INTERNAL_ERROR"})}) as broken:
        with pytest.raises(AllFailedError) as raised:
            await Cluster(http, [dead, broken.address], []).topics(Warnings())
    refused, bad_status = str(raised.value).split("\n")
    assert refused.startswith(f'failed to query any nsqlookupd: Get "http://{dead}/topics": ')
    assert bad_status == (
        'got response 500 Internal Server Error "{\\"message\\": \\"INTERNAL_ERROR\\"}"'
    )


@pytest.mark.parametrize(
    "answer",
    ["not json", "[]", '{"topics": [1]}', ConnectionResetError],
    ids=["no-json", "other-type", "other-element", "cut"],
)
async def test_a_wrong_answer_is_a_failed_one(http: DaemonHttp, answer: Any) -> None:
    async with fake_http({"/topics": answer}) as odd:
        with pytest.raises(AllFailedError, match="/topics"):
            await Cluster(http, [odd.address], []).topics(Warnings())


async def test_a_node_that_never_answers_costs_its_own_answer_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts, nobody answers
        address = "{}:{}".format(*silent.getsockname())
        async with (
            DaemonHttp(request_s=0.2) as http,
            fake_http({"/topics": {"topics": ["a"]}}) as alive,
        ):
            warnings = Warnings()
            assert await Cluster(http, [address, alive.address], []).topics(warnings) == ["a"]
    assert warnings.message == f'WARNING: Get "http://{address}/topics": no answer in time'


async def test_inactive_topics_have_no_producer_at_any_lookupd(http: DaemonHttp) -> None:
    answers = {
        "/topics": {"topics": ["used", "unused#ephemeral"]},
        "/lookup?topic=used&draining=true": {"channels": [], "producers": [producer("n1")]},
        "/lookup?topic=unused%23ephemeral&draining=true": {"channels": [], "producers": []},
        "/channels?topic=unused%23ephemeral": {"channels": ["y", "x"]},
    }
    async with fake_http(answers) as lookupd:
        cluster = Cluster(http, [lookupd.address], [])
        assert await cluster.inactive_topics(Warnings()) == {"unused#ephemeral": ["x", "y"]}


async def test_a_node_listed_by_two_lookupds_is_one_node(http: DaemonHttp) -> None:
    nodes = {"producers": [producer("n1", topics=["b", "a"], tombstones=[True, False])]}
    async with fake_http({"/nodes": nodes}) as one, fake_http({"/nodes": nodes}) as two:
        (node,) = await Cluster(http, [one.address, two.address], []).nodes(Warnings())
    assert node.as_json() == {
        "remote_addresses": [f"{one.address}/n1:5000", f"{two.address}/n1:5000"],
        "remote_address": "n1:5000",
        "hostname": "n1",
        "broadcast_address": "127.0.0.1",
        "tcp_port": 4150,
        "http_port": 4151,
        "version": "1.3.0",
        "topics": [{"topic": "a", "tombstoned": False}, {"topic": "b", "tombstoned": True}],
        "out_of_date": False,
    }


async def test_nodes_older_than_the_newest_are_out_of_date(http: DaemonHttp) -> None:
    versions = ["1.10.0", "1.9.3", "1.10.0-rc.1", "nonsense"]
    producers = [
        producer(f"n{number}", tcp_port=number, version=version)
        for number, version in enumerate(versions)
    ]
    async with fake_http({"/nodes": {"producers": producers}}) as lookupd:
        nodes = await Cluster(http, [lookupd.address], []).nodes(Warnings())
    assert [node.out_of_date for node in nodes] == [False, True, True, True]


async def test_given_nsqds_have_no_remote_address(http: DaemonHttp) -> None:
    answers = {"/info": info("n1"), "/stats": {"topics": [topic("t")]}}
    async with fake_http(answers) as nsqd:
        (node,) = await Cluster(http, [], [nsqd.address]).nodes(Warnings())
    shown = node.as_json()
    assert (shown["remote_addresses"], shown["remote_address"]) == (None, "")
    assert shown["topics"] == [{"topic": "t", "tombstoned": False}]


async def test_an_nsqd_that_requires_tls_is_asked_again_over_https(http: DaemonHttp) -> None:
    port = free_port()
    answer = (403, json.dumps({"message": "TLS_REQUIRED", "https_port": port}))
    async with fake_http({"/stats": answer}) as nsqd:
        with pytest.raises(AllFailedError, match=f"https://127.0.0.1:{port}/stats"):
            await Cluster(http, [], [nsqd.address]).topics(Warnings())


async def test_a_dead_lookupd_is_named_once_however_many_topics_there_are(
    http: DaemonHttp,
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    names = [f"t{number}" for number in range(30)]
    answers = {"/topics": {"topics": names}, "/lookup": {"producers": []}, "/channels": {}}
    async with fake_http(answers) as alive:
        warnings = Warnings()
        inactive = await Cluster(http, [dead, alive.address], []).inactive_topics(warnings)
    assert list(inactive) == sorted(names)
    assert warnings.message == (
        f'WARNING: Get "http://{dead}/topics": dial tcp {dead}: connect: connection refused'
    )


async def test_a_dead_nsqd_is_named_once(http: DaemonHttp) -> None:
    dead = f"127.0.0.1:{free_port()}"
    info = {"broadcast_address": "h", "tcp_port": 1, "http_port": 2}
    async with fake_http({"/info": info, "/stats": {"topics": []}}) as alive:
        warnings = Warnings()
        await Cluster(http, [], [dead, alive.address]).nodes(warnings)
    assert warnings.message == (
        f'WARNING: Get "http://{dead}/info": dial tcp {dead}: connect: connection refused'
    )
