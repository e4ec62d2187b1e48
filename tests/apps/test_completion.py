"""The names that shells offer: which are asked for, and who is asked."""

import pytest

from nsqx.apps.completion import names_for
from tests.support.commands import nsqx
from tests.support.fake_http import fake_http
from tests.support.processes import Cluster, Lookupd, Nsqd, eventually, free_port

TOPICS = {"orders", "order-lines", "refunds#ephemeral"}


async def cluster_with_topics(cluster: Cluster) -> tuple[Lookupd, Nsqd]:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(lookupds=[lookupd])
    await node.wait_for_log("LOOKUPD: .*: connected")
    for topic in TOPICS:
        await node.post(f"/topic/create?topic={topic.replace('#', '%23')}")
    for channel in ("billing", "audit"):
        await node.post(f"/channel/create?topic=orders&channel={channel}")

    async def are_known() -> bool:
        topics = await lookupd.get_json("/topics")
        channels = await lookupd.get_json("/channels?topic=orders")
        return {*topics["topics"]} == TOPICS and len(channels["channels"]) == 2

    await eventually(are_known, "nsqlookupd knows them")
    return lookupd, node


async def test_whoever_the_line_names_is_asked(cluster: Cluster) -> None:
    lookupd, node = await cluster_with_topics(cluster)
    by_lookupd, by_http = f"--lookupd={lookupd.http_address}", f"--nsqd={node.http_address}"
    by_tcp = f"--nsqd={node.tcp_address}"
    tcp = f"nsqd-tcp-address={node.tcp_address}"
    both = {"orders", "order-lines"}
    lines: list[tuple[list[str], set[str]]] = [
        (["nsqx", "tail", by_lookupd, "or"], both),
        (["nsqx", "tail", by_tcp, "or"], both),
        (["nsqx", "tail", "x", "--lookupd", lookupd.http_address, "ref"], {"refunds#ephemeral"}),
        (["nsqx", "tail", by_tcp, "orders", "--channel", ""], {"billing", "audit"}),
        (["nsqx", "tail", by_lookupd, "orders", "--channel=b"], {"billing"}),
        (["nsqx", "tail", by_lookupd, "orders", "-n", ""], set()),
        (["nsqx", "pub", by_tcp, ""], TOPICS),
        (["nsqx", "pub", by_tcp, "orders", ""], set()),
        (["nsqx", "seek", by_http, "orders", ""], {"billing", "audit"}),
        (["nsqx", "seek", by_http, "orders", "billing", ""], set()),
        (["nsqx", "peek", by_http, "-n", "3", "order-"], {"order-lines"}),
        (["nsqx", "roll", by_lookupd, ""], {node.http_address}),
        (["/opt/nsqx", "top", by_http, "orders", "order-"], {"order-lines"}),
        (["nsq_stat", "-lookupd-http-address", lookupd.http_address, "-topic=or"], both),
        (["nsqx", "to-file", f"--{tcp}", "--topic", "or"], both),
        (["nsq_to_file", "-topic=orders", f"-{tcp}", "-channel", ""], {"billing", "audit"}),
        (["nsq_to_nsq", "-topic=x", f"-destination-{tcp}", "-destination-topic", "or"], both),
    ]
    for words, expected in lines:
        assert await names_for(words) == expected, words


async def test_whoever_fails_costs_nothing_but_its_own_names(cluster: Cluster) -> None:
    _, node = await cluster_with_topics(cluster)
    nobody = f"127.0.0.1:{free_port()}"
    words = ["nsqx", "tail", f"--nsqd={node.tcp_address}", f"--nsqd={nobody}"]
    assert await names_for([*words, f"--lookupd={nobody}", "or"]) == {"orders", "order-lines"}


@pytest.mark.parametrize(
    "words",
    [
        ["nsqx", "tail", "--lookupd", "{nobody}", ""],
        ["nsqx", "tail", "--nsqd", "{nobody}", ""],
        ["nsqx", "peek", "--nsqd", "{nobody}", "--tls-ca-file", "/none", ""],
        ["nsqx", "peek", "--nsqd", "no port", ""],
        ["nsqx", "peek", "--auth-secret-file", "/none", "--nsqd={nobody}", ""],
        ["nsqx", "tail", "--no-such-option", "--nsqd={nobody}", ""],
        ["nsq_tail", "-nsqd-tcp-address", "nonsense", "-topic", ""],
        ["nsqx", "up", "--nodes", ""],
        ["nsqx", "nsqd", "--max-topics", ""],
        ["nsqx", "unknown", ""],
        ["nsqx"],
        [],
    ],
)
async def test_where_nothing_can_be_known_nothing_is_said(words: list[str]) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    assert await names_for([each.format(nobody=nobody) for each in words]) == set()


async def test_names_that_a_shell_might_obey_are_not_shown() -> None:
    evil = ["$(touch x)", "a b", "\x1b]0;x\x07", "`x`", "t;x", "../x", "-x\n-y"]
    node = {"broadcast_address": "10.0.0.1", "tcp_port": 4150, "http_port": 4151}
    nodes = [node, *({**node, "broadcast_address": each} for each in evil)]
    answers = {"/topics": {"topics": [*evil, "good"]}, "/nodes": {"producers": nodes}}
    async with fake_http(answers) as lookupd:
        by_lookupd = f"--lookupd={lookupd.address}"
        assert await names_for(["nsqx", "tail", by_lookupd, ""]) == {"good"}
        assert await names_for(["nsqx", "roll", by_lookupd, ""]) == {"10.0.0.1:4151"}


async def test_the_command_prints_a_name_a_line_and_fails_without_a_word(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await node.post("/topic/create?topic=b")
    await node.post("/topic/create?topic=a")
    done = await nsqx("complete", "nsqx", "peek", f"--nsqd={node.http_address}", "")
    assert (done.code, done.out, done.err) == (0, "a\nb\n", "")
    done = await nsqx("complete", "nsqx", "peek", f"--nsqd=127.0.0.1:{free_port()}", "")
    assert (done.code, done.out, done.err) == (0, "", "")
