"""
Clients that others wrote, unmodified, against our broker: one suite, an adapter for each.

The adapters run as processes, see `tests/clients/adapters/lines.py`. What a client does not have
is not in its `Features`.
"""

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.clients.adapters.lines import LINE_BYTES_MAX, Settings
from tests.support.auth_server import running_auth_server
from tests.support.certificates import Authority
from tests.support.processes import Cluster, Nsqd, eventually, running_cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parent.parent.parent
SECONDS_MAX = 20.0
SILENCE_S = 0.3
MSG_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Features:
    """A client, and what it can do beside the basics."""

    name: str
    tls: bool = True
    compression: bool = True


CLIENTS = (
    Features("pynsq"),
    Features("gnsq"),
    Features("ansq", tls=False, compression=False),
)


@dataclass(frozen=True)
class Message:
    id: str
    attempts: int
    body: bytes


class ThirdPartyClient:
    """A running adapter."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()

    @classmethod
    @asynccontextmanager
    async def running(cls, name: str, settings: Settings) -> AsyncIterator["ThirdPartyClient"]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"tests.clients.adapters.{name}",
            settings.encode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            limit=LINE_BYTES_MAX,
        )
        client = cls(process)
        reading = asyncio.create_task(client._read())
        try:
            yield client
        finally:
            process.kill()
            await process.wait()
            await reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            item = json.loads(line)
            if "answer" in item:
                self._answers.put_nowait(item["answer"])
            else:
                found = item["message"]
                body = base64.b64decode(found["body"])
                self._messages.put_nowait(Message(found["id"], found["attempts"], body))

    async def do(self, command: str, **arguments: Any) -> None:
        """Have it do something, which must succeed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        async with asyncio.timeout(SECONDS_MAX):
            assert await self._answers.get() == "OK"

    async def publish(self, body: bytes) -> None:
        await self.do("publish", body=encoded(body))

    async def next_message(self) -> Message:
        async with asyncio.timeout(SECONDS_MAX):
            return await self._messages.get()

    async def expect_silence(self) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self._messages.get(), SILENCE_S)


def encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("clients")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(cluster: Cluster, authority: Authority) -> Nsqd:
    server = authority.server()
    return await cluster.nsqd(
        f"--tls-cert={server.certificate}",
        f"--tls-key={server.key}",
        "--https-address=",
        "--msg-timeout=1s",  # gnsq asks for none
    )


@pytest.fixture(params=CLIENTS, ids=lambda features: features.name)
def features(request: pytest.FixtureRequest) -> Features:
    found: Features = request.param
    return found


@pytest.fixture
def settings(node: Nsqd, features: Features, request: pytest.FixtureRequest) -> Settings:
    topic = f"{features.name}.{request.function.__name__}"[:64]
    return Settings(node.tcp_address, topic, "archive")


@pytest_asyncio.fixture(loop_scope="module")
async def client(settings: Settings, features: Features) -> AsyncIterator[ThirdPartyClient]:
    async with ThirdPartyClient.running(features.name, settings) as client:
        yield client


async def channel_of(node: Nsqd, settings: Settings) -> dict[str, Any]:
    stats = await node.get_json(f"/stats?format=json&topic={settings.topic}&include_mem=false")
    channels: list[dict[str, Any]] = stats["topics"][0]["channels"]
    return channels[0]


async def expect_drained(node: Nsqd, settings: Settings) -> None:
    async def is_drained() -> bool:
        channel = await channel_of(node, settings)
        return not (channel["depth"] or channel["in_flight_count"] or channel["deferred_count"])

    await eventually(is_drained, "everything is finished")


async def test_what_is_published_is_received_and_finished(
    node: Nsqd, settings: Settings, client: ThirdPartyClient
) -> None:
    await client.do("subscribe")
    for body in (b"hello", b"\x00\xff\n", b"x" * 100_000):
        await client.publish(body)
        message = await client.next_message()
        assert (message.body, message.attempts) == (body, 1)
        await client.do("finish", id=message.id)
    await expect_drained(node, settings)


async def test_multi_publish(node: Nsqd, settings: Settings, client: ThirdPartyClient) -> None:
    await client.do("subscribe")
    bodies = [b"%d" % number for number in range(100)]
    await client.do("multi_publish", bodies=list(map(encoded, bodies)))
    received = []
    for _ in bodies:
        message = await client.next_message()
        received.append(message.body)
        await client.do("finish", id=message.id)
    assert sorted(received) == sorted(bodies)
    await expect_drained(node, settings)


async def test_a_deferred_message_is_not_early(client: ThirdPartyClient) -> None:
    await client.do("subscribe")
    published = time.monotonic()
    await client.do("publish_deferred", body=encoded(b"later"), delay_ms=600)
    message = await client.next_message()
    assert time.monotonic() - published >= 0.6
    assert (message.body, message.attempts) == (b"later", 1)
    await client.do("finish", id=message.id)


async def test_a_requeued_message_comes_again_after_its_delay(
    node: Nsqd, settings: Settings, client: ThirdPartyClient
) -> None:
    await client.do("subscribe")
    await client.publish(b"again")
    first = await client.next_message()
    requeued = time.monotonic()
    await client.do("requeue", id=first.id, delay_ms=600)
    second = await client.next_message()
    assert time.monotonic() - requeued >= 0.6
    assert second == Message(first.id, 2, b"again")
    await client.do("requeue", id=second.id, delay_ms=0)
    third = await client.next_message()
    assert third == Message(first.id, 3, b"again")
    await client.do("finish", id=third.id)
    await expect_drained(node, settings)
    assert (await channel_of(node, settings))["requeue_count"] == 2


async def test_touch_keeps_a_message_past_its_timeout(
    node: Nsqd, settings: Settings, client: ThirdPartyClient
) -> None:
    await client.do("subscribe")
    await client.publish(b"slow")
    message = await client.next_message()
    started = time.monotonic()
    while time.monotonic() - started < 2 * MSG_TIMEOUT_S:
        await asyncio.sleep(MSG_TIMEOUT_S / 4)  # the work that takes so long
        await client.do("touch", id=message.id)
    await client.do("finish", id=message.id)
    await expect_drained(node, settings)
    await client.expect_silence()
    assert (await channel_of(node, settings))["timeout_count"] == 0


async def test_a_message_that_times_out_comes_again(
    node: Nsqd, settings: Settings, client: ThirdPartyClient
) -> None:
    await client.do("subscribe")
    await client.publish(b"forgotten")
    first = await client.next_message()
    received = time.monotonic()
    second = await client.next_message()
    assert time.monotonic() - received >= MSG_TIMEOUT_S * 0.9
    assert second == Message(first.id, 2, b"forgotten")
    await client.do("finish", id=second.id)
    await expect_drained(node, settings)
    assert (await channel_of(node, settings))["timeout_count"] == 1


async def test_no_more_than_max_in_flight(
    settings: Settings, features: Features, client: ThirdPartyClient
) -> None:
    bodies = [b"%d" % number for number in range(8)]
    await client.do("multi_publish", bodies=list(map(encoded, bodies)))
    await client.do("subscribe")
    held = [await client.next_message()]
    if features.name == "gnsq":  # it begins with RDY 1 until a message is finished
        await client.do("finish", id=held.pop().id)
    while len(held) < settings.max_in_flight:
        held.append(await client.next_message())
    await client.expect_silence()
    await client.do("finish", id=held.pop().id)
    held.append(await client.next_message())
    await client.expect_silence()


async def test_heartbeats_are_answered(
    cluster: Cluster, node: Nsqd, settings: Settings, features: Features
) -> None:
    quick = Settings(settings.address, settings.topic, "archive", heartbeat_s=1)
    async with ThirdPartyClient.running(features.name, quick) as client:
        await client.do("subscribe")
        await client.publish(b"before")
        await client.do("finish", id=(await client.next_message()).id)
        connected = (await channel_of(node, settings))["clients"][0]["remote_address"]
        await asyncio.sleep(3)  # longer than a connection lives that does not answer
        await client.publish(b"after")
        assert (await client.next_message()).body == b"after"
        clients = (await channel_of(node, settings))["clients"]
        assert [each["remote_address"] for each in clients] == [connected]


LAYERS = ("tls", "snappy", "deflate", "tls and snappy", "tls and deflate")
LAYERED = [
    pytest.param(features, layers, id=f"{features.name}-{layers}")
    for features in CLIENTS
    for layers in LAYERS
    if (features.tls or "tls" not in layers) and (features.compression or layers == "tls")
]


@pytest.mark.parametrize(("features", "layers"), LAYERED, indirect=["features"])
async def test_layers(
    authority: Authority, node: Nsqd, settings: Settings, features: Features, layers: str
) -> None:
    has_tls = "tls" in layers
    layered = Settings(
        settings.address,
        f"{features.name}.{layers.replace(' ', '_')}",
        "archive",
        tls_authority=str(authority.certificate) if has_tls else None,
        snappy="snappy" in layers,
        deflate="deflate" in layers,
    )
    async with ThirdPartyClient.running(features.name, layered) as client:
        await client.do("subscribe")
        for body in (b"hello", b"well compressible " * 10_000, bytes(range(256)) * 100):
            await client.publish(body)
            message = await client.next_message()
            assert message.body == body
            await client.do("finish", id=message.id)
        await expect_drained(node, layered)
        (shown,) = (await channel_of(node, layered))["clients"]
        assert (shown["tls"], shown["snappy"], shown["deflate"]) == (
            has_tls,
            layered.snappy,
            layered.deflate,
        )


async def test_auth(cluster: Cluster, features: Features) -> None:
    async with running_auth_server() as auth:
        node = await cluster.nsqd(f"--auth-http-address={auth.address}", "--msg-timeout=1s")
        settings = Settings(node.tcp_address, "guarded", "archive", auth_secret="full")
        async with ThirdPartyClient.running(features.name, settings) as client:
            await client.do("subscribe")
            await client.publish(b"allowed")
            message = await client.next_message()
            assert message.body == b"allowed"
            await client.do("finish", id=message.id)
            await expect_drained(node, settings)
            (shown,) = (await channel_of(node, settings))["clients"]
            assert (shown["authed"], shown["auth_identity"]) == (True, "user:full")
        await node.stop()
