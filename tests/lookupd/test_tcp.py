"""Real sockets: what only the connection does."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from nsqx.lookupd.session import Session
from nsqx.lookupd.tcp import TURN_BYTES, Connection
from nsqx.protocol.lookup import (
    MAGIC,
    PING,
    PeerInfo,
    decode_directory_info,
    encode_identify,
    encode_register,
)
from tests.support.processes import eventually

NODE = PeerInfo(broadcast_address="10.1.1.1", http_port=4151, tcp_port=4150, version="1.3.0")


@pytest_asyncio.fixture
async def lookupd() -> AsyncIterator[Lookupd]:
    options = LookupdOptions(
        tcp_address="127.0.0.1:0", http_address="127.0.0.1:0", broadcast_address="here"
    )
    async with Lookupd(options) as lookupd:
        yield lookupd


class Node:
    """An nsqd as far as a directory is concerned."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, lookupd: Lookupd) -> "Node":
        return cls(*await asyncio.open_connection("127.0.0.1", lookupd.tcp_port))

    async def ask(self, command: bytes) -> bytes:
        self.writer.write(command)
        return await self.answer()

    async def answer(self) -> bytes:
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        return await self.reader.readexactly(size)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_identify_tells_the_real_ports(lookupd: Lookupd) -> None:
    node = await Node.connect(lookupd)
    info = decode_directory_info(await node.ask(MAGIC + encode_identify(NODE)))
    assert (info.tcp_port, info.http_port) == (lookupd.tcp_port, lookupd.http_port)
    assert (info.broadcast_address, info.hostname) == ("here", socket.gethostname())
    await node.close()


async def test_producer_has_the_address_of_its_connection(lookupd: Lookupd) -> None:
    node = await Node.connect(lookupd)
    await node.ask(MAGIC + encode_identify(NODE))
    (producer,) = lookupd.registry.producers
    host, port = node.writer.get_extra_info("sockname")
    assert producer.id == f"{host}:{port}"
    await node.close()


async def test_lost_connection_takes_its_producer_out(lookupd: Lookupd) -> None:
    node = await Node.connect(lookupd)
    await node.ask(MAGIC + encode_identify(NODE))
    node.writer.transport.abort()

    async def is_gone() -> bool:
        return not lookupd.registry.producers

    await eventually(is_gone, "the producer is forgotten")


async def test_error_is_sent_before_the_connection_closes(lookupd: Lookupd) -> None:
    node = await Node.connect(lookupd)
    assert await node.ask(MAGIC + b"FOO\n") == b"E_INVALID invalid command FOO"
    assert await node.reader.read() == b""
    await node.close()


async def test_end_of_the_daemon_closes_its_connections(lookupd: Lookupd) -> None:
    node = await Node.connect(lookupd)
    await node.ask(MAGIC + PING)
    await lookupd.stop()
    with suppress(ConnectionResetError):
        assert await node.reader.read() == b""
    await node.close()


async def test_node_that_reads_no_answers_is_not_read_either(lookupd: Lookupd) -> None:
    """Its answers would pile up here: reading stops until it reads again."""
    node = await Node.connect(lookupd)
    await node.ask(MAGIC + encode_identify(NODE))
    node.writer.transport.set_write_buffer_limits(0)
    (connection,) = lookupd._tcp.connections
    asked = 0

    async def is_paused() -> bool:
        nonlocal asked
        node.writer.write(PING * 10_000)
        asked += 10_000
        return not connection.transport.is_reading()

    await eventually(is_paused, "the directory stops reading")
    for _ in range(asked):
        assert await node.answer() == b"OK"
    await node.close()


async def test_whoever_says_nothing_makes_room_for_nodes() -> None:
    options = LookupdOptions(
        tcp_address="127.0.0.1:0", http_address="127.0.0.1:0", max_connections=2
    )
    async with Lookupd(options) as lookupd:
        strangers = [await Node.connect(lookupd) for _ in range(2)]
        for stranger in strangers:
            assert await stranger.ask(MAGIC + PING) == b"OK"
        node = await Node.connect(lookupd)
        assert b"broadcast_address" in await node.ask(MAGIC + encode_identify(NODE))
        assert await node.ask(PING) == b"OK"
        assert await strangers[1].ask(PING) == b"OK"
        with suppress(ConnectionError):
            assert await strangers[0].reader.read() == b""
        for each in (*strangers, node):
            with suppress(ConnectionError):
                await each.close()


async def test_whoever_does_not_identify_has_its_time(lookupd: Lookupd) -> None:
    lookupd._tcp.identify_s = 0.05
    stranger, node = await Node.connect(lookupd), await Node.connect(lookupd)
    await node.ask(MAGIC + encode_identify(NODE))
    with suppress(ConnectionError):
        assert await stranger.reader.read() == b""
    assert await node.ask(PING) == b"OK"
    await node.close()
    with suppress(ConnectionError):
        await stranger.close()


async def test_no_address_has_more_than_its_share() -> None:
    options = LookupdOptions(
        tcp_address="127.0.0.1:0", http_address="127.0.0.1:0", max_connections_per_address=1
    )
    async with Lookupd(options) as lookupd:
        node, other = await Node.connect(lookupd), await Node.connect(lookupd)
        assert b"too many connections of one address, limit 1" in await other.answer()
        assert await node.ask(MAGIC + PING) == b"OK"
        await node.close()
        await other.close()


async def test_connections_beyond_the_limit_are_refused() -> None:
    options = LookupdOptions(
        tcp_address="127.0.0.1:0", http_address="127.0.0.1:0", max_connections=2
    )
    async with Lookupd(options) as lookupd:
        nodes = [await Node.connect(lookupd) for _ in range(2)]
        for node in nodes:
            await node.ask(MAGIC + encode_identify(NODE))
        refused = await Node.connect(lookupd)
        assert await refused.answer() == b"E_INVALID too many connections, limit 2"
        assert await refused.reader.read() == b""
        await refused.close()
        await nodes.pop().close()

        async def is_free() -> bool:
            return len(lookupd._tcp.connections) == 1

        await eventually(is_free, "there is room again")
        nodes.append(await Node.connect(lookupd))
        assert await nodes[-1].ask(MAGIC + PING) == b"OK"
        for node in nodes:
            await node.close()


async def test_flood_is_executed_in_turns_with_others(
    lookupd: Lookupd, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await Node.connect(lookupd)
    await node.ask(MAGIC + PING)
    (connection,) = lookupd._tcp.connections
    execute, sizes = connection.session.receive_data, list[int]()

    def receive_data(data: bytes, now_ns: int) -> bytes:
        sizes.append(len(data))
        return execute(data, now_ns)

    monkeypatch.setattr(connection.session, "receive_data", receive_data)
    count = 10_000
    connection.data_received(PING * count)  # what one read may bring
    assert sizes == [TURN_BYTES]
    assert not connection.transport.is_reading()
    other = await Node.connect(lookupd)
    assert await other.ask(MAGIC + PING) == b"OK"
    for _ in range(count):
        assert await node.answer() == b"OK"
    assert max(sizes) == TURN_BYTES
    assert await node.ask(PING) == b"OK"
    await node.close()
    await other.close()


async def test_end_of_a_flood_is_executed_too(lookupd: Lookupd) -> None:
    node = await Node.connect(lookupd)
    await node.ask(MAGIC + encode_identify(NODE))
    commands = b"".join(encode_register(f"t{number}") for number in range(5000))
    node.writer.write(commands)
    node.writer.write_eof()
    for _ in range(5000):
        assert await node.answer() == b"OK"
    assert await node.reader.read() == b""
    await node.close()


async def test_error_in_a_flood_ends_it(lookupd: Lookupd) -> None:
    node = await Node.connect(lookupd)
    node.writer.write(MAGIC + PING * 5000 + b"FOO\n" + PING * 5000)
    for _ in range(5000):
        assert await node.answer() == b"OK"
    assert await node.answer() == b"E_INVALID invalid command FOO"
    with suppress(ConnectionResetError):
        assert await node.reader.read() == b""
    await node.close()


async def test_many_registrations_in_one_write(lookupd: Lookupd) -> None:
    node = await Node.connect(lookupd)
    await node.ask(MAGIC + encode_identify(NODE))
    node.writer.write(b"".join(encode_register(f"t{number}", "c") for number in range(2000)))
    for _ in range(2000):
        assert await node.answer() == b"OK"
    assert lookupd.registry.registrations == 4000
    await node.close()


SAID = [
    b"",
    b"garbage",
    MAGIC + b"IDENTIFY\n" + (10**6).to_bytes(4) + b"{" * 60_000,  # more than may be
    MAGIC + b"REGISTER t\n",
    MAGIC + encode_identify(NODE) + encode_register("t") + b"REGISTER",
]


async def test_connections_that_are_gone_leave_nothing_to_the_collector(lookupd: Lookupd) -> None:
    async def is_any_held() -> bool:
        held = [each for each in gc.get_objects() if isinstance(each, Connection | Session)]
        return any(each not in of_others for each in held)

    async def is_none_held() -> bool:
        return not await is_any_held()

    gc.collect()
    # Tests that ran before may have left some, in a traceback for example.
    of_others = [each for each in gc.get_objects() if isinstance(each, Connection | Session)]
    gc.disable()
    try:
        for said in SAID:
            _, writer = await asyncio.open_connection("127.0.0.1", lookupd.tcp_port)
            await eventually(is_any_held, "a connection")
            writer.write(said)
            await asyncio.sleep(0)
            writer.transport.abort()
            await eventually(is_none_held, f"gone after {said[:20]!r}")
    finally:
        gc.enable()
