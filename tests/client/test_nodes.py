"""Where `Nsq` publishes to: what the network says is judged entry by entry, and nobody waits."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator

import pytest

from nsqx.client import ClientClosed, DeadlineExceeded, Nsq, Producer, Settings
from nsqx.client.addresses import heard_address
from nsqx.client.lookup import parse_lookup, parse_nodes
from nsqx.client.nodes import Nodes
from nsqx.client.tasks import start
from nsqx.protocol.commands import Publish
from tests.support.fake_http import fake_http
from tests.support.scripted_nsqd import ScriptedNsqd


@pytest.fixture
async def nsqd() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


def answer(*producers: object) -> bytes:
    return json.dumps({"producers": producers}).encode()


def entry(host: object, port: object) -> dict[str, object]:
    return {"broadcast_address": host, "tcp_port": port}


@pytest.mark.parametrize(
    "bad",
    [
        entry("", 4150),
        entry("bad host!", 4150),
        entry("a/b", 4150),
        entry("user@host", 4150),
        entry("1:2:3", 4150),
        entry("host\n", 4150),
        entry(None, 4150),
        entry("host", 0),
        entry("host", 65536),
        entry("host", "4150"),
        entry("host", None),
        {},
        "host",
        None,
    ],
    ids=str,
)
def test_an_nsqd_that_says_nonsense_of_itself_is_left_out(
    bad: object, caplog: pytest.LogCaptureFixture
) -> None:
    good = entry("good", 4150)
    assert {str(each) for each in parse_lookup(answer(good, bad, good))} == {"good:4150"}


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("::1", "[::1]:4150"),
        ("[::1]", "[::1]:4150"),
        ("fe80::1", "[fe80::1]:4150"),
        ("Host.example", "Host.example:4150"),
        ("10.0.0.1", "10.0.0.1:4150"),
    ],
)
def test_addresses_of_all_kinds_are_taken(host: str, text: str) -> None:
    assert str(heard_address(host, 4150)) == text


async def test_a_task_that_ends_by_mistake_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def crash() -> None:
        raise RuntimeError("why")

    await asyncio.wait((start(crash(), "the task"),))
    await asyncio.sleep(0)
    assert "the task ended by mistake" in caplog.text
    assert "why" in caplog.text


async def test_a_lookupd_that_hangs_delays_nothing(nsqd: ScriptedNsqd) -> None:
    nodes = {"/nodes": {"producers": [entry("127.0.0.1", nsqd.port)]}}
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # it accepts, and says nothing
        lookupds = [f"127.0.0.1:{hanging.getsockname()[1]}"]
        async with fake_http(nodes) as lookupd, Nsq(lookupd=[*lookupds, lookupd.address]) as client:
            publish = asyncio.create_task(client.publish("t", b"x"))
            async with asyncio.timeout(3):  # an answer may take 5 s
                peer = await nsqd.accept()
            await peer.identify()
            await peer.expect(Publish)
            peer.ok()
            await publish


async def test_who_finds_none_is_told_why() -> None:
    async with Nsq(lookupd="127.0.0.1:1") as client:
        with pytest.raises(DeadlineExceeded, match=r"127\.0\.0\.1:1.*[Cc]onnect") as caught:
            await client.publish("t", b"x", timeout=0.5)
        assert "ssl" not in str(caught.value)
    async with Nsq(nsqd="127.0.0.1:1") as client:
        with pytest.raises(DeadlineExceeded, match=r"127\.0\.0\.1:1: connection refused"):
            await client.publish("t", b"x", timeout=0.5)


async def test_why_none_was_found_is_not_forgotten_while_it_is_asked_again() -> None:
    asked = 0
    is_asked_again = asyncio.Event()

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            writer.write(
                b"HTTP/1.1 500 no reason\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
        else:
            is_asked_again.set()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    nodes = Nodes(Producer, (), [f"127.0.0.1:{port}"], eager_interval=0.01)
    async with server:
        finding = asyncio.create_task(nodes.find())
        async with asyncio.timeout(5):
            await is_asked_again.wait()
        assert "500" in str(nodes.last_error)
        finding.cancel()
        await nodes.close()


async def test_close_waits_for_what_was_published(nsqd: ScriptedNsqd) -> None:
    client = Nsq(nsqd=nsqd.address)
    await client.__aenter__()
    publish = asyncio.create_task(client.publish("t", b"x"))
    closing = asyncio.create_task(client.close())
    peer = await nsqd.accept()
    await peer.identify()
    await peer.expect(Publish)
    assert not closing.done()
    peer.ok()
    await closing
    assert publish.done()
    await publish
    with pytest.raises(ClientClosed):
        await client.publish("t", b"x")


async def test_close_waits_for_nobody_for_ever(
    nsqd: ScriptedNsqd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    client = Nsq(nsqd=nsqd.address, settings=Settings(connect_timeout=1), close_timeout=0.1)
    await client.__aenter__()
    publish = asyncio.create_task(client.publish("t", b"x"))
    await (await nsqd.accept()).identify()
    await client.close()
    with pytest.raises(ClientClosed):
        await publish
    assert not caplog.text


def test_what_is_emptied_or_hidden_is_nothing_to_publish_to() -> None:
    hidden = {"topics": ["a", "b"], "tombstones": [True, True]}
    partly = {"topics": ["a", "b"], "tombstones": [True, False]}
    none: dict[str, object] = {"topics": [], "tombstones": []}
    nodes = answer(
        entry("drains", 1) | none | {"draining": True},
        entry("hidden", 1) | hidden,
        entry("partly", 1) | partly,
        entry("none", 1) | none,
        entry("odd", 1) | {"tombstones": 7},
    )
    assert {str(each) for each in parse_nodes(nodes)} == {"partly:1", "none:1"}
    assert len(parse_lookup(nodes)) == 5
