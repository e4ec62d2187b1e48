"""Several nodes behind one TCP and one HTTP port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from nsqx.net.addresses import bind_shared
from nsqx.nsqd.daemon import Nsqd
from nsqx.nsqd.edge.shared_ports import SharedPorts
from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol.errors import StartupError
from tests.support.node import Node, running_node
from tests.support.processes import eventually

CONNECTIONS = 64  # that none of two nodes gets any of them happens once in 10 ** 19 times


class Host:
    """A TCP and an HTTP port that nobody else takes, and the options of those who share them."""

    def __init__(self) -> None:
        self._reserved = [bind_shared("127.0.0.1:0", "a test") for _ in range(2)]
        self.tcp, self.http = (f"127.0.0.1:{each.getsockname()[1]}" for each in self._reserved)

    def close(self) -> None:
        for each in self._reserved:
            each.close()

    @property
    def options(self) -> dict[str, object]:
        return {
            "reuse_port": True,
            "tcp_address": self.tcp,
            "http_address": self.http,
            "own_tcp_address": "127.0.0.1:0",  # what it is if nothing is said
        }

    async def connect(self) -> list[asyncio.StreamWriter]:
        """Make many connections; who asks closes them."""
        host, _, port = self.tcp.rpartition(":")
        made = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS)]
        return [writer for _, writer in made]

    async def publish(self) -> None:
        """Publish by HTTP, with a connection for each message."""
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            for _ in range(CONNECTIONS):
                url = f"http://{self.http}/pub?topic=t"
                async with session.post(url, data=b"hello") as answer:
                    assert answer.status == 200, await answer.text()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    yield host
    host.close()


@asynccontextmanager
async def two_nodes(folder: Path, host: Host) -> AsyncIterator[tuple[Node, Node]]:
    for name in ("a", "b"):
        (folder / name).mkdir()
    async with (
        running_node(folder / "a", **host.options) as one,
        running_node(folder / "b", **host.options) as other,
    ):
        yield one, other


def depth(node: Node) -> int:
    topic = node.broker.topics.get("t")
    return topic.depth if topic is not None else 0


async def test_both_take_connections_and_each_has_ports_of_its_own(
    tmp_path: Path, host: Host
) -> None:
    async with two_nodes(tmp_path, host) as (one, other):
        await host.publish()
        assert depth(one) + depth(other) == CONNECTIONS
        assert depth(one) > 0 < depth(other)
        assert len({one.tcp_address, other.tcp_address, host.tcp}) == 3
        assert one.nsqd.broadcast_http_port != other.nsqd.broadcast_http_port
        async with one.client() as client:  # what a consumer gets is this node's alone
            await client.subscribe("t", "c", ready=CONNECTIONS)
            assert len(await client.receive(depth(one))) == depth(one)


async def test_tcp_is_shared_too(tmp_path: Path, host: Host) -> None:
    async with two_nodes(tmp_path, host) as nodes:
        servers = [each.nsqd.tcp_server for each in nodes]

        async def all_came() -> bool:
            return sum(len(each.connections) for each in servers) == CONNECTIONS

        writers = await host.connect()
        await eventually(all_came, "every connection was accepted")
        assert all(each.connections for each in servers)
        for writer in writers:
            writer.close()


async def test_who_drains_gets_no_connections_until_it_takes_messages_again(
    tmp_path: Path, host: Host
) -> None:
    async with two_nodes(tmp_path, host) as (one, other):
        await one.post("/node/drain")
        await host.publish()  # each is answered 200
        assert (depth(one), depth(other)) == (0, CONNECTIONS)
        await one.post("/node/undrain")
        await host.publish()
        assert depth(one) > 0


async def test_a_node_that_ends_leaves_the_ports_to_the_other(tmp_path: Path, host: Host) -> None:
    async with two_nodes(tmp_path, host) as (one, other):
        await one.nsqd.stop()
        await host.publish()
        assert depth(other) == CONNECTIONS


async def test_a_node_that_was_draining_when_it_ended_starts_without_them(
    tmp_path: Path, host: Host
) -> None:
    async with running_node(tmp_path, **host.options) as node:
        await node.post("/node/drain")
    async with running_node(tmp_path, **host.options):
        with pytest.raises(ConnectionRefusedError):
            await host.connect()


async def test_a_port_that_others_do_not_share_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path) as alone:
        taken = alone.tcp_address
        with pytest.raises(StartupError, match=r"address already in use.*\(--tcp-address\)"):
            SharedPorts({"TCP": (taken, "--tcp-address")})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tcp_address": "127.0.0.1:0"}, "--tcp-address=127.0.0.1:0 cannot be shared"),
        ({"http_address": "/run/nsqd.sock"}, "--http-address=/run/nsqd.sock cannot be shared"),
        ({"reuse_port": False}, "--own-tcp-address is for nodes that share ports"),
    ],
)
def test_what_cannot_be_shared_is_refused(host: Host, wrong: dict[str, str], said: str) -> None:
    options = NsqdOptions(**(host.options | wrong))  # type: ignore[arg-type]  # of several kinds
    with pytest.raises(StartupError, match=said):
        options.check()


async def test_without_http_only_tcp_is_shared(tmp_path: Path, host: Host) -> None:
    options = NsqdOptions(
        **(host.options | {"http_address": "", "data_path": str(tmp_path)})  # type: ignore[arg-type]  # of several kinds
    )
    async with Nsqd(options) as node:
        assert node.http_address == ""
        for writer in await host.connect():
            writer.close()
