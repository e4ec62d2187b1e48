"""``nsqx doctor`` on real clusters, and its probes against who does not answer as he should."""

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import pytest
import trustme

from nsqx.apps.look import doctor, examination
from nsqx.apps.look.diagnosis import diagnose
from nsqx.apps.look.examination import Examination
from nsqx.apps.look.probes import probe_nsqd, probe_registrar
from nsqx.client.addresses import Address
from nsqx.protocol.frames import encode_error, encode_response
from nsqx.protocol.lookup import OK_ANSWER
from nsqx.protocol.version import VERSION
from tests.support.commands import nsqx
from tests.support.dns import play_dns
from tests.support.fake_http import fake_http
from tests.support.processes import Cluster, Lookupd, Nsqd, eventually, free_port
from tests.support.stream_server import stream_server


async def examine(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and what ``--json`` says."""
    done = await nsqx("doctor", "--timeout=2", "--json", *arguments)
    assert not done.err
    return done.code, json.loads(done.out)


def asking(*lookupds: Lookupd) -> list[str]:
    return [f"--lookupd={lookupd.http_address}" for lookupd in lookupds]


async def until_listed(topic: str, node: Nsqd, *lookupds: Lookupd) -> None:
    async def is_listed() -> bool:
        for lookupd in lookupds:
            status, body = await lookupd.get(f"/lookup?topic={topic}")
            if status != 200 or f'"tcp_port":{node.tcp_port}'.encode() not in body:
                return False
        return True

    await eventually(is_listed, f"{topic} of {node.name} is listed")


async def test_well_cluster(cluster: Cluster) -> None:
    lookupds = [await cluster.lookupd() for _ in range(2)]
    node = await cluster.nsqd(lookupds=lookupds)
    await node.post("/topic/create?topic=orders")
    await until_listed("orders", node, *lookupds)
    code, document = await examine(*asking(*lookupds))
    assert (code, document["findings"], document["is_well"]) == (0, [], True)
    (seen,) = document["nsqds"]
    assert seen["listed_by"] == [lookupd.http_address for lookupd in lookupds]
    assert (seen["tcp"]["address"], seen["http"]["address"]) == (
        node.tcp_address,
        node.http_address,
    )
    assert seen["disk_free_bytes"] > 0
    assert seen["open_files"] > 0
    assert [each["address"] for each in document["registrars"]] == [
        lookupd.tcp_address for lookupd in lookupds
    ]


async def test_text_says_the_same_without_colours(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(lookupds=[lookupd])
    done = await nsqx("doctor", *asking(lookupd))
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith(f"nsqlookupd {lookupd.http_address}: HTTP ")
    assert lines[1].startswith(f"nsqd {node.http_address}: TCP {node.tcp_address} ")
    assert lines[-1] == "All is well."
    assert "\x1b" not in done.out


async def test_dead_daemons_and_an_address_that_nobody_reaches(cluster: Cluster) -> None:
    lookupds = [await cluster.lookupd() for _ in range(2)]
    node = await cluster.nsqd(lookupds=lookupds)
    lost = await cluster.nsqd("--broadcast-address=nowhere.invalid", lookupds=lookupds)
    await lookupds[1].kill()

    async def is_noticed() -> bool:
        _, metrics = await node.get("/metrics")
        address = lookupds[1].tcp_address
        return f'nsqd_lookupd_connected{{address="{address}"}} 0'.encode() in metrics

    await eventually(is_noticed, "the nsqd has noticed")
    done = await nsqx("doctor", *asking(*lookupds))
    assert done.code == 1
    assert f"ERROR nsqlookupd {lookupds[1].http_address} cannot be reached by HTTP" in done.out
    assert f"ERROR nsqd {node.http_address} is not connected to nsqlookupd" in done.out
    assert f"ERROR nsqd nowhere.invalid:{lost.http_port} cannot be reached by HTTP" in done.out
    assert "unknown host name" in done.out
    assert done.out.splitlines()[-1] == "3 errors."


async def test_address_for_our_network_is_the_one_that_is_tried(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(
        "--broadcast-address=nowhere.invalid",
        "--advertise=127.0.0.0/8=127.0.0.1",
        lookupds=[lookupd],
    )
    code, document = await examine(*asking(lookupd))
    assert (code, document["nsqds"][0]["tcp"]["address"]) == (0, node.tcp_address)


async def test_lookupds_that_disagree(cluster: Cluster) -> None:
    lookupds = [await cluster.lookupd() for _ in range(2)]
    node = await cluster.nsqd(lookupds=lookupds)
    for name in ("orders", "refunds"):
        await node.post(f"/topic/create?topic={name}")
        await until_listed(name, node, *lookupds)
    await lookupds[0].post("/topic/delete?topic=orders")
    code, document = await examine(*asking(*lookupds))
    (finding,) = document["findings"]
    assert code == 1
    assert finding["subject"] == f"nsqlookupd {lookupds[0].http_address}"
    assert finding["problem"] == f"does not list orders of nsqd {node.http_address}, as others do"


async def test_every_lookupd_behind_a_name_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    play_dns(monkeypatch)["directory"] = ["127.0.0.1", "127.0.0.2"]
    topic = {"topic:orders:": [{"broadcast_address": "10.0.0.9", "tcp_port": 4150}]}
    answers = {"/ping": "OK", "/nodes": {"producers": []}, "/info": {"version": VERSION}}
    async with fake_http({**answers, "/debug": topic}) as one:
        port = int(one.address.rpartition(":")[2])
        async with fake_http({**answers, "/debug": {}}, "127.0.0.2", port) as two:
            facts = await doctor._examine([Address("directory", port)], [], None, 5.0)
    assert [each.http.address for each in facts.lookupds] == [one.address, two.address]
    assert [finding.problem for finding in diagnose(facts)][-1].startswith("does not list orders")
    assert set(one.hosts) | set(two.hosts) == {f"directory:{port}"}


async def test_releases_of_ours_are_told_apart() -> None:
    """They speak one version of NSQ's protocol, and are of one version to NSQ's tools."""
    answers = {"/ping": "OK", "/nodes": {"producers": []}, "/debug": {}}
    old, new = ({"version": "1.3.0", "nsqx_version": version} for version in ("0.1.0", "0.2.0"))
    async with (
        fake_http({**answers, "/info": old}) as one,
        fake_http({**answers, "/info": new}) as two,
    ):
        _, document = await examine(f"--lookupd={one.address}", f"--lookupd={two.address}")
    problems = [finding["problem"] for finding in document["findings"]]
    assert problems[-1] == (
        "nsqlookupd of different versions: "
        f"1.3.0 (nsqx 0.1.0) ({one.address}), 1.3.0 (nsqx 0.2.0) ({two.address})"
    )


async def test_one_nsqd_by_its_address(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    code, document = await examine(f"--nsqd={node.http_address}")
    assert code == 1
    assert [each["problem"] for each in document["findings"]] == [
        "knows no nsqlookupd: consumers that ask for its topics do not find it"
    ]
    assert document["nsqds"][0]["tcp"] == {
        "address": node.tcp_address,
        "problem": "",
        "took_s": document["nsqds"][0]["tcp"]["took_s"],
    }


async def test_nobody_there() -> None:
    address = f"127.0.0.1:{free_port()}"
    code, document = await examine(f"--lookupd={address}", f"--nsqd={address}")
    assert code == 1
    assert [each["subject"] for each in document["findings"]] == [
        f"nsqlookupd {address}",
        f"nsqd {address}",
    ]


async def test_somebody_else_there() -> None:
    async with fake_http({"/ping": "OK"}) as stranger:
        code, document = await examine(f"--lookupd={stranger.address}")
    assert code == 1
    assert document["findings"][0]["problem"] == ("cannot be reached by HTTP: it is no nsqlookupd")


@pytest.mark.parametrize("flag", ["--lookupd=:", "--nsqd=a:b", "--timeout=0"])
async def test_wrong_usage(flag: str) -> None:
    assert (await nsqx("doctor", flag)).code == 2


async def test_changes_between_two_looks_are_no_disagreement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second lookupd hears of a topic a moment later than the first."""
    node = {"broadcast_address": "a", "tcp_port": 1}
    complete, empty = {"topic:t:": [node]}, dict[str, object]()
    common = {"/ping": "OK", "/nodes": {"producers": []}}
    async with (
        fake_http({**common, "/debug": complete}) as first,
        fake_http({**common, "/debug": empty}) as second,
    ):
        addresses = [
            Address("127.0.0.1", int(each.address.split(":")[1])) for each in (first, second)
        ]
        still = await Examination(addresses, [], second_look_s=0.0).run()
        assert [sorted(each.missing) for each in still.lookupds] == [[], [("a:1", "t", "")]]

        class Late(dict[str, object]):
            """Complete from the third answer on: the first look takes two."""

        asked = 0
        get = second.answers.get

        def answers(path: str, default: object = None) -> object:
            nonlocal asked
            asked += path == "/debug"
            return complete if path == "/debug" and asked > 2 else get(path, default)

        monkeypatch.setattr(
            second, "answers", type("Answers", (), {"get": staticmethod(answers)})()
        )
        late = await Examination(addresses, [], second_look_s=0.0).run()
        assert [each.missing for each in late.lookupds] == [frozenset(), frozenset()]


@pytest.mark.parametrize(
    ("offset_s", "skew_s"),
    [(0, 0.0), (1, 0.5), (-1, -0.25), (100, 99.5), (-100, -99.25)],
)
def test_clock_skew_is_what_the_whole_seconds_of_a_date_cannot_explain(
    offset_s: int, skew_s: float
) -> None:
    date = formatdate(1_000_000 + offset_s, usegmt=True)
    assert examination._clock_skew(date, asked_at=1_000_000.25, took_s=0.25) == skew_s


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_who_tells_no_date_has_no_skew(date: str) -> None:
    assert examination._clock_skew(date, 1_000_000, 0) == 0


# Probes

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async with stream_server(talk, tls) as address:
        yield int(address.partition(":")[2])


def saying(answer: bytes) -> Talk:
    """Answer whatever comes first."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        await writer.drain()
        await reader.read()

    return talk


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (encode_response(b'{"version":"1.3.0"}'), ""),
        (encode_response(b"OK"), "it does not answer to IDENTIFY"),
        (encode_error(b"E_INVALID no"), "it refuses clients: E_INVALID no"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak NSQ's protocol"),
    ],
)
async def test_probe_of_an_nsqd(answer: bytes, problem: str) -> None:
    async with listening(saying(answer)) as port:
        reach = await probe_nsqd("127.0.0.1", port, 5)
        assert (reach.address, reach.problem) == (f"127.0.0.1:{port}", problem)


async def test_probe_of_who_says_nothing_or_hangs_up() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    async with listening(hang_up) as port:
        assert (await probe_nsqd("127.0.0.1", port, 5)).problem in (
            "it closes the connection",
            "connection reset by peer",
        )
    async with listening(saying(b"")) as port:
        problem = (await probe_nsqd("127.0.0.1", port, 0.1)).problem
        assert problem == "it takes connections and says nothing (no answer in 0.1 s)"
    assert (await probe_nsqd("127.0.0.1", free_port(), 5)).problem == "connection refused"
    assert (await probe_nsqd("nowhere.invalid", 1, 5)).problem == "unknown host name"


async def test_probe_of_a_registrar_speaks_tls_where_that_is_spoken() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    async with listening(saying(OK_ANSWER)) as port:
        assert (await probe_registrar("127.0.0.1", port, 5)).problem == ""
    async with listening(saying(OK_ANSWER), context) as port:
        assert (await probe_registrar("127.0.0.1", port, 5)).problem == ""
    async with listening(saying(b"220 smtp.example\r\n")) as port:
        reach = await probe_registrar("127.0.0.1", port, 5)
        assert reach.problem == "it does not speak nsqlookupd's protocol"


async def test_what_waits_and_nobody_consumes_is_told(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(lookupds=[lookupd])
    for path in ("/topic/create?topic=orders", "/channel/create?topic=orders&channel=mail"):
        await node.post(path)
    await node.post("/mpub?topic=orders", b"a\nb\nc")
    await node.post("/pub?topic=bare", b"x")
    await until_listed("bare", node, lookupd)
    code, document = await examine(*asking(lookupd))
    found = {(each["severity"], each["subject"], each["problem"]) for each in document["findings"]}
    assert code == 1
    assert found == {
        ("warning", "channel orders/mail", "has no consumer and 3 messages wait"),
        ("warning", "topic bare", "has no channel and 1 message"),
    }


async def test_of_a_node_that_hangs_the_address_is_not_blamed(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(lookupds=[lookupd])
    await node.post("/topic/create?topic=t")
    await until_listed("t", node, lookupd)
    node.send_signal(signal.SIGSTOP)
    code, document = await examine(*asking(lookupd), "--timeout=1")
    (finding,) = document["findings"]
    assert code == 1
    assert "takes connections and says nothing" in finding["problem"]
    assert "broadcast-address" not in finding["advice"]
    assert "stopped or hangs" in finding["advice"]


async def test_the_tcp_port_where_http_is_wanted_is_called_so(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    done = await nsqx("doctor", f"--nsqd={node.tcp_address}")
    assert "what answers there does not speak HTTP" in done.out
