"""nsqd and its nsqlookupds over real sockets: ours where all is well, a scripted one where not."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from aiohttp import web

from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from nsqx.net.addresses import TcpAddress
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.daemon import Nsqd
from nsqx.nsqd.directory import peers as lookup_peers
from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol.errors import StartupError
from nsqx.protocol.lookup import encode_answer
from tests.support.certificates import Authority
from tests.support.processes import eventually
from tests.support.scripted_lookupd import ScriptedLookupd

# The issue's promise. A machine that runs other tests too is not always quick.
BACK_S = 2.0
BUSY_MACHINE_S = 3.0


async def until(check: Callable[[], bool], what: str) -> None:
    """Wait for a state that nobody announces."""

    async def holds() -> bool:
        return check()

    await eventually(holds, what)


@pytest.fixture
def nsqd_options(tmp_path: Path) -> NsqdOptions:
    return NsqdOptions(
        tcp_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        broadcast_address="127.0.0.1",
        data_path=str(tmp_path),
    )


Start = Callable[..., AbstractAsyncContextManager[Nsqd]]


@pytest.fixture
def nsqd(nsqd_options: NsqdOptions) -> Start:
    """A function that starts an nsqd with these nsqlookupds."""

    @asynccontextmanager
    async def start(*addresses: str) -> AsyncIterator[Nsqd]:
        nsqd_options.lookupd_tcp_address = list(addresses)
        async with Nsqd(nsqd_options) as running:
            yield running

    return start


@pytest_asyncio.fixture
async def scripted() -> AsyncIterator[ScriptedLookupd]:
    async with ScriptedLookupd() as lookupd:
        yield lookupd


def new_lookupd(tcp_port: int = 0) -> Lookupd:
    options = LookupdOptions(
        tcp_address=f"127.0.0.1:{tcp_port}",
        http_address="127.0.0.1:0",
        broadcast_address="127.0.0.1",
    )
    return Lookupd(options)


def address_of(lookupd: Lookupd) -> str:
    return f"127.0.0.1:{lookupd.tcp_port}"


def registered(lookupd: Lookupd) -> dict[str, set[str]]:
    """What a directory knows of the one node."""
    return {
        name: {channel for channel, holders in topic.channels.items() if holders}
        for name, topic in lookupd.registry.topics.items()
        if topic.producers
    }


def publish(nsqd: Nsqd, topic: Topic, *bodies: bytes) -> list[Exception | None]:
    """Publish now; return what the producer was answered."""
    answers: list[Exception | None] = []
    topic.publish(list(bodies), 0, answers.append, nsqd.broker.clock.monotonic())
    nsqd.broker.commit(topic)
    return answers


# Registering


async def test_topics_and_channels_are_registered_and_taken_back(nsqd: Start) -> None:
    async with new_lookupd() as lookupd, nsqd(address_of(lookupd)) as node:
        topic = node.broker.get_topic("orders")
        channel = node.broker.get_channel(topic, "billing")
        node.broker.get_channel(topic, "mail#ephemeral")
        expected = {"orders": {"billing", "mail#ephemeral"}}
        await until(lambda: registered(lookupd) == expected, "all is registered")
        node.broker.delete_channel(topic, channel)
        expected = {"orders": {"mail#ephemeral"}}
        await until(lambda: registered(lookupd) == expected, "the channel is taken back")
        node.broker.delete_topic(topic)
        await until(lambda: registered(lookupd) == {}, "the topic is taken back")


async def test_node_tells_where_others_reach_it(nsqd: Start, nsqd_options: NsqdOptions) -> None:
    nsqd_options.broadcast_address = "node.example"
    nsqd_options.broadcast_http_port = 80
    async with new_lookupd() as lookupd, nsqd(address_of(lookupd)) as node:
        await until(lambda: bool(lookupd.registry.producers), "the node is known")
        (producer,) = lookupd.registry.producers
        assert producer.peer.broadcast_address == "node.example"
        assert (producer.peer.tcp_port, producer.peer.http_port) == (node.tcp_port, 80)


async def test_what_was_there_before_the_start_is_registered(
    nsqd: Start, nsqd_options: NsqdOptions
) -> None:
    async with nsqd() as node:
        node.broker.get_channel(node.broker.get_topic("orders"), "billing")
    async with new_lookupd() as lookupd, nsqd(address_of(lookupd)):
        expected = {"orders": {"billing"}}
        await until(lambda: registered(lookupd) == expected, "all is registered")


async def test_directory_that_is_back_knows_everything_within_two_seconds(nsqd: Start) -> None:
    lookupd = new_lookupd()
    await lookupd.start()
    port = lookupd.tcp_port
    async with nsqd(address_of(lookupd)) as node:
        for number in range(1000):
            node.broker.get_topic(f"t{number}#ephemeral")
        await until(lambda: len(registered(lookupd)) == 1000, "all is registered")
        await lookupd.stop()
        await until(lambda: not node.peers.states()[0].is_connected, "it is missed")
        for number in range(1000, 1100):
            node.broker.get_topic(f"t{number}#ephemeral")
        async with new_lookupd(port) as back:
            async with asyncio.timeout(BACK_S + BUSY_MACHINE_S):
                await until(lambda: len(registered(back)) == 1100, "all is registered again")


async def test_end_of_the_node_takes_everything_back(nsqd: Start) -> None:
    async with new_lookupd() as lookupd:
        async with nsqd(address_of(lookupd)) as node:
            node.broker.get_topic("orders")
            await until(lambda: "orders" in registered(lookupd), "the topic is registered")
        await until(lambda: registered(lookupd) == {}, "all is taken back")


async def test_end_of_the_node_says_nothing(nsqd: Start, scripted: ScriptedLookupd) -> None:
    async with nsqd(scripted.tcp_address) as node:
        node.broker.get_topic("orders")
        await scripted.heard("REGISTER orders\n")
        said = scripted.commands()
    await scripted.until(lambda: {"closed_by_nsqd": True} in scripted.heard_all, "it closed")
    assert scripted.commands() == said


# Directories that are not well


async def test_directory_that_is_down_at_the_start_delays_nothing(
    nsqd: Start, scripted: ScriptedLookupd
) -> None:
    await scripted.stop_listening()
    async with nsqd(scripted.tcp_address) as node:
        node.broker.get_topic("orders")
        await scripted.listen()
        await scripted.heard("REGISTER orders\n")


async def test_directory_that_hangs_delays_no_other(nsqd: Start, scripted: ScriptedLookupd) -> None:
    scripted.answer = lambda line: None
    async with new_lookupd() as lookupd, nsqd(scripted.tcp_address, address_of(lookupd)) as node:
        await scripted.heard("IDENTIFY\n")
        node.broker.get_topic("orders")
        await until(lambda: "orders" in registered(lookupd), "the other one knows the topic")
        # It is given up after a second, and tried again.
        await scripted.heard("IDENTIFY\n", 2)
        assert {"closed_by_nsqd": True} in scripted.heard_all


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="another protocol"),
        pytest.param(encode_answer(b"not json"), id="not JSON"),
        pytest.param(b"\xff\xff\xff\xff", id="endless answer"),
    ],
)
async def test_directory_that_answers_nonsense_is_left(
    nsqd: Start, scripted: ScriptedLookupd, garbage: bytes
) -> None:
    scripted.answer = lambda line: garbage
    async with nsqd(scripted.tcp_address) as node:
        await scripted.until(lambda: {"closed_by_nsqd": True} in scripted.heard_all, "it is left")
        assert not node.peers.states()[0].is_connected
        scripted.answer = scripted.introduce
        await until(lambda: node.peers.states()[0].is_connected, "it is tried again")


# Addresses at run time


async def test_addresses_may_change_while_it_runs(nsqd: Start, scripted: ScriptedLookupd) -> None:
    async with nsqd() as node:
        node.broker.get_topic("orders")
        node.peers.set_addresses([scripted.tcp_address])
        await scripted.heard("REGISTER orders\n")
        assert node.peers.addresses == [scripted.tcp_address]
        node.peers.set_addresses([])
        await scripted.until(lambda: {"closed_by_nsqd": True} in scripted.heard_all, "it is left")
        assert node.peers.states() == []


async def test_address_that_stays_is_not_connected_anew(
    nsqd: Start, scripted: ScriptedLookupd
) -> None:
    async with new_lookupd() as lookupd, nsqd(scripted.tcp_address) as node:
        await scripted.heard("IDENTIFY\n")
        node.peers.set_addresses([address_of(lookupd), scripted.tcp_address])
        await until(lambda: bool(lookupd.registry.producers), "the new one is connected")
        assert scripted.commands() == ["IDENTIFY"]


async def test_wrong_address_at_run_time_is_left_out(
    nsqd: Start, scripted: ScriptedLookupd
) -> None:
    async with nsqd() as node:
        node.peers.set_addresses(["nowhere", scripted.tcp_address])
        await scripted.heard("IDENTIFY\n")
        assert [state.address for state in node.peers.states()] == [scripted.tcp_address]


async def test_wrong_address_at_the_start_is_an_error(nsqd: Start) -> None:
    with pytest.raises(StartupError, match="--lookupd-tcp-address - address nowhere: missing port"):
        async with nsqd("nowhere"):
            pass


# Channels that are known elsewhere


async def test_first_message_reaches_the_channels_that_are_known_elsewhere(nsqd: Start) -> None:
    async with new_lookupd() as one, new_lookupd() as two:
        one.registry.create_channel("orders", "billing")
        two.registry.create_channel("orders", "mail")
        two.registry.create_channel("orders", "tail#ephemeral")
        async with nsqd(address_of(one), address_of(two)) as node:
            topic = node.broker.get_topic("orders")
            publish(node, topic, b"first")
            await until(lambda: not topic.is_held, "the topic passes messages on")
            assert {name: each.depth for name, each in topic.channels.items()} == {
                "billing": 1,
                "mail": 1,
            }
            expected = {"orders": {"billing", "mail"}}
            await until(lambda: registered(one) == expected, "they are registered")


async def test_channel_that_comes_meanwhile_takes_nothing_away(
    nsqd: Start, scripted: ScriptedLookupd
) -> None:
    scripted.channels["orders"] = ["billing"]
    scripted.is_answering_http.clear()
    async with nsqd(scripted.tcp_address) as node:
        await scripted.heard("IDENTIFY\n")
        topic = node.broker.get_topic("orders")
        mail = node.broker.get_channel(topic, "mail")
        assert publish(node, topic, b"first") == [None]  # answered all the same
        await scripted.until(lambda: bool(scripted.queries), "it is asked")
        assert (topic.depth, mail.depth) == (1, 0)
        scripted.is_answering_http.set()
        await until(lambda: not topic.is_held, "the topic passes messages on")
        assert (topic.depth, mail.depth, topic.channels["billing"].depth) == (0, 1, 1)


async def test_channel_that_was_deleted_meanwhile_does_not_come_back(
    nsqd: Start, scripted: ScriptedLookupd
) -> None:
    scripted.channels["orders"] = ["billing", "mail"]  # the first is this node's own
    scripted.is_answering_http.clear()
    async with nsqd(scripted.tcp_address) as node:
        topic = node.broker.get_topic("orders")
        billing = node.broker.get_channel(topic, "billing")
        await scripted.until(lambda: bool(scripted.queries), "it is asked")
        node.broker.delete_channel(topic, billing)
        scripted.is_answering_http.set()
        await until(lambda: not topic.is_held, "the topic passes messages on")
        assert set(topic.channels) == {"mail"}


async def test_answer_that_does_not_come_holds_for_the_request_timeout_only(
    nsqd: Start, nsqd_options: NsqdOptions, scripted: ScriptedLookupd
) -> None:
    nsqd_options.http_client_request_timeout = 200_000_000
    scripted.is_answering_http.clear()
    async with new_lookupd() as lookupd, nsqd(scripted.tcp_address, address_of(lookupd)) as node:
        lookupd.registry.create_channel("orders", "billing")
        topic = node.broker.get_topic("orders")
        publish(node, topic, b"first")
        await until(lambda: not topic.is_held, "the topic passes messages on")
        assert topic.channels["billing"].depth == 1


async def test_no_directory_holds_nothing(nsqd: Start) -> None:
    async with nsqd() as node:
        topic = node.broker.get_topic("orders")
        channel = node.broker.get_channel(topic, "billing")
        publish(node, topic, b"first")
        assert channel.depth == 1


async def test_directories_that_are_all_down_hold_until_they_were_tried(
    nsqd: Start, scripted: ScriptedLookupd
) -> None:
    await scripted.stop_listening()
    async with nsqd(scripted.tcp_address) as node:
        topic = node.broker.get_topic("orders")
        assert topic.is_held
        await until(lambda: not topic.is_held, "the topic passes messages on")
        assert scripted.queries == []


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"channels": 1}', b'{"channels": ["not valid!", ""]}', b'{"channels": null}'],
)
async def test_nonsense_over_http_makes_no_channels(
    nsqd: Start, scripted: ScriptedLookupd, body: bytes
) -> None:
    scripted.http_answer = lambda request: web.Response(body=body)
    async with nsqd(scripted.tcp_address) as node:
        await scripted.heard("IDENTIFY\n")
        topic = node.broker.get_topic("orders")
        await scripted.until(lambda: bool(scripted.queries), "it is asked")
        await until(lambda: not topic.is_held, "the topic passes messages on")
        assert topic.channels == {}


async def test_deleted_topic_is_not_made_again_by_a_late_answer(
    nsqd: Start, scripted: ScriptedLookupd
) -> None:
    scripted.channels["orders"] = ["billing"]
    scripted.is_answering_http.clear()
    async with nsqd(scripted.tcp_address) as node:
        await scripted.heard("IDENTIFY\n")
        node.broker.delete_topic(node.broker.get_topic("orders"))
        await scripted.until(lambda: bool(scripted.queries), "it is asked")
        scripted.is_answering_http.set()
        await until(lambda: not node.peers._tasks, "the answer was dealt with")
        assert node.broker.topics == {}
        assert "REGISTER orders billing" not in scripted.commands()


async def test_directory_that_wants_https_is_asked_again(
    nsqd: Start, nsqd_options: NsqdOptions, scripted: ScriptedLookupd, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    nsqd_options.tls_root_ca_file = str(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with serving_https(context, {"channels": ["billing"]}) as port:
        refusal = json.dumps({"message": "TLS_REQUIRED", "https_port": port})
        scripted.http_answer = lambda request: web.Response(status=403, text=refusal)
        async with nsqd(scripted.tcp_address) as node:
            await scripted.heard("IDENTIFY\n")
            topic = node.broker.get_topic("orders")
            await until(lambda: not topic.is_held, "the topic passes messages on")
            assert list(topic.channels) == ["billing"]


@asynccontextmanager
async def serving_https(context: ssl.SSLContext, answer: object) -> AsyncIterator[int]:
    """Answer every GET with this JSON; yields the port."""

    async def handle(request: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Certificates for nsqlookupd and what nsqd verifies them by, as files."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    return authority


def tls_lookupd(folder: Path) -> Lookupd:
    options = LookupdOptions(
        tcp_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        broadcast_address="127.0.0.1",
        tls_cert=str(folder / "cert.pem"),
        tls_key=str(folder / "key.pem"),
    )
    return Lookupd(options)


@pytest.mark.parametrize("policy", ["require", "require-verify"])
async def test_directories_may_ask_for_certificates(
    nsqd: Start, nsqd_options: NsqdOptions, tmp_path: Path, policy: str
) -> None:
    ours, theirs = Authority(tmp_path, name="ours"), Authority(tmp_path, name="theirs")
    server = ours.server()
    lookupd = Lookupd(
        LookupdOptions(
            tcp_address="127.0.0.1:0",
            http_address="127.0.0.1:0",
            tls_cert=str(server.certificate),
            tls_key=str(server.key),
            tls_client_auth_policy=policy,
            tls_root_ca_file=str(ours.certificate),
        )
    )
    nsqd_options.lookupd_tls = True
    nsqd_options.lookupd_tls_root_ca_file = str(ours.certificate)
    async with lookupd:
        for client, is_taken in (
            (None, False),
            (theirs.client("node"), policy == "require"),
            (ours.client("node"), True),
        ):
            if client is not None:
                nsqd_options.lookupd_tls_cert = str(client.certificate)
                nsqd_options.lookupd_tls_key = str(client.key)
            async with nsqd(address_of(lookupd)) as node:
                (connection,) = node.peers._connections.values()
                await connection.tried.wait()
                assert connection.is_connected is is_taken
                assert bool(lookupd.registry.producers) is is_taken
            await until(lambda: not lookupd.registry.producers, "it is gone")


@pytest.mark.usefixtures("authority")
async def test_registrations_may_be_encrypted(
    nsqd: Start, nsqd_options: NsqdOptions, tmp_path: Path
) -> None:
    nsqd_options.lookupd_tls = True
    nsqd_options.lookupd_tls_root_ca_file = str(tmp_path / "ca.pem")
    async with tls_lookupd(tmp_path) as lookupd, nsqd(address_of(lookupd)) as node:
        node.broker.get_topic("orders")
        await until(lambda: "orders" in registered(lookupd), "the topic is registered")


@pytest.mark.usefixtures("authority")
async def test_certificate_of_somebody_else_is_not_accepted(
    nsqd: Start, nsqd_options: NsqdOptions, tmp_path: Path
) -> None:
    nsqd_options.lookupd_tls = True
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    nsqd_options.lookupd_tls_root_ca_file = str(tmp_path / "other.pem")
    async with tls_lookupd(tmp_path) as lookupd, nsqd(address_of(lookupd)) as node:
        (connection,) = node.peers._connections.values()
        await connection.tried.wait()
        assert not connection.is_connected
        assert not lookupd.registry.producers
    nsqd_options.lookupd_tls_insecure_skip_verify = True
    async with tls_lookupd(tmp_path) as lookupd, nsqd(address_of(lookupd)):
        await until(lambda: bool(lookupd.registry.producers), "it is accepted unseen")


async def test_missing_certificates_are_an_error_at_the_start(
    nsqd: Start, nsqd_options: NsqdOptions, tmp_path: Path
) -> None:
    nsqd_options.lookupd_tls = True
    nsqd_options.lookupd_tls_root_ca_file = str(tmp_path / "nosuch.pem")
    with pytest.raises(
        StartupError, match=r"open .*: No such file .* \(--lookupd-tls-root-ca-file\)"
    ):
        async with nsqd():
            pass
    with pytest.raises(StartupError, match="--tls-cert"):
        async with tls_lookupd(tmp_path):
            pass


# Names


async def test_every_address_of_a_name_is_a_directory(nsqd_options: NsqdOptions) -> None:
    async with ScriptedLookupd() as one, ScriptedLookupd("127.0.0.2") as two:
        await two.stop_listening()
        two.tcp_port = one.tcp_port
        await two.listen()

        async def resolve(host: str, port: int) -> list[TcpAddress]:
            assert (host, port) == ("directories.example", one.tcp_port)
            return [TcpAddress("127.0.0.1", port), TcpAddress("127.0.0.2", port)]

        async with Nsqd(nsqd_options) as node:
            await node.peers.stop()
            node.peers = lookup_peers.LookupPeers(node, resolve)
            node.peers.start([f"directories.example:{one.tcp_port}"])
            await one.heard("IDENTIFY\n")
            await two.heard("IDENTIFY\n")


async def test_name_that_is_not_known_yet_is_shown_and_tried_on(nsqd_options: NsqdOptions) -> None:
    known = asyncio.Event()
    async with ScriptedLookupd() as scripted:

        async def resolve(host: str, port: int) -> list[TcpAddress]:
            if not known.is_set():
                raise OSError("Name or service not known")
            return [TcpAddress("127.0.0.1", port)]

        async with Nsqd(nsqd_options) as node:
            await node.peers.stop()
            node.peers = lookup_peers.LookupPeers(node, resolve)
            node.peers.start([f"late.example:{scripted.tcp_port}"])
            topic = node.broker.get_topic("orders")
            await until(lambda: not topic.is_held, "nothing is held for it")
            (state,) = node.peers.states()
            assert state.address == f"late.example:{scripted.tcp_port}"
            assert not state.is_connected
            known.set()
            await scripted.heard("REGISTER orders\n")


async def test_localhost_is_one_directory(nsqd: Start) -> None:
    async with new_lookupd() as lookupd, nsqd(f"localhost:{lookupd.tcp_port}") as node:
        await until(lambda: bool(lookupd.registry.producers), "the node is known")
        assert len(lookupd.registry.producers) == 1
        assert len(node.peers.states()) == 1
