"""Limits of connections, on real sockets."""

import asyncio
import gc
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from nsqx.net.reading_turn import Reader, ReadingTurn
from nsqx.nsqd.core.session import Session
from nsqx.nsqd.edge.tcp import Connection, Strangers
from nsqx.protocol.commands import pub
from tests.support.node import running_node


async def _answer(port: int, command: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"  V2" + command)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer[8:]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_connections": 1}, b"E_INVALID too many connections, limit 1"),
        (
            {"max_connections_per_address": 1},
            b"E_INVALID too many connections of one address, limit 1",
        ),
    ],
)
async def test_a_client_too_many_is_told_so_and_those_before_stay(
    tmp_path: Path, options: dict[str, int], reason: bytes
) -> None:
    async with running_node(tmp_path, **options) as node:
        first_reader, first = await asyncio.open_connection("127.0.0.1", node.nsqd.tcp_port)
        first.write(b"  V2PUB t\n\x00\x00\x00\x01x")
        assert await first_reader.readexactly(10) == b"\x00\x00\x00\x06\x00\x00\x00\x00OK"
        assert await _answer(node.nsqd.tcp_port, b"NOP\n") == reason
        first.write(b"PUB t\n\x00\x00\x00\x01x")
        assert await first_reader.readexactly(10) == b"\x00\x00\x00\x06\x00\x00\x00\x00OK"
        first.close()
        await first.wait_closed()


HELLO = b"  V2"
DEFLATE = b'{"feature_negotiation": true, "deflate": true}'
SAID = [
    b"",
    b"garbage",
    HELLO,
    HELLO + b"IDENTIFY\n\x00\x00\x00\x02{}",
    HELLO + b"IDENTIFY\n\x00\x00\xea\x60{",  # more than may be
    HELLO + b"PUB t\n\x00\x00\x00\x01xPUB t\n\x00\x00\x00\x09",
    HELLO + b"MPUB t\n\x00\x00\x00\x0f\x00\x00\x00\x02\x00\x00\x00\x01x",
    HELLO + b"SUB u c\nRDY 1\n",
    HELLO + b"IDENTIFY\n\x00\x00\x00\x2e" + DEFLATE,
]


async def test_connections_that_are_gone_leave_nothing_to_the_collector(tmp_path: Path) -> None:
    def all_held() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, Connection | Session)]

    def held() -> list[object]:
        return [each for each in all_held() if each not in of_others]

    gc.collect()
    # Tests that ran before may have left some, in a traceback for example.
    of_others = all_held()
    async with running_node(tmp_path) as node, asyncio.timeout(20):
        server = node.nsqd.tcp_server
        writers = []
        for said in SAID:
            _, writer = await asyncio.open_connection("127.0.0.1", node.nsqd.tcp_port)
            writer.write(said)
            writers.append(writer)
        while not any(each.session.consumer for each in server.connections):  # noqa: ASYNC110 - by it
            await asyncio.sleep(0)
        assert len(held()) >= 2
        gc.collect()
        gc.disable()
        try:
            for writer in writers:
                writer.transport.abort()
            while server.connections:  # noqa: ASYNC110 - by it
                await asyncio.sleep(0)
            await asyncio.sleep(0)  # the transports let go, too
            assert not held()
        finally:
            gc.enable()


class Newcomer:
    """A connection that may have shown what it came for."""

    def __init__(self, *, is_stranger: bool = True) -> None:
        self.session = SimpleNamespace(is_stranger=is_stranger)
        self.is_gone = False

    def make_room(self) -> None:
        self.is_gone = True


def added(strangers: Strangers, host: str, count: int, *, is_stranger: bool = True) -> list[Any]:
    newcomers: list[Any] = [Newcomer(is_stranger=is_stranger) for _ in range(count)]
    for newcomer in newcomers:
        strangers.add(newcomer, host)
    return newcomers


def test_of_too_many_strangers_the_newest_of_the_greatest_crowd_goes() -> None:
    strangers = Strangers(4)
    crowd = added(strangers, "crowd", 3)
    others = added(strangers, "other", 2)
    assert [each.is_gone for each in crowd] == [False, False, True]
    more = added(strangers, "crowd", 1)  # the same address again: only itself pays
    assert [each.is_gone for each in (*crowd, *others, *more)] == [False, False, True] + [
        False
    ] * 2 + [True]


def test_more_clients_than_there_may_be_strangers_leave_room_for_the_next_of_their_host() -> None:
    strangers = Strangers(4)
    clients: list[Any] = []
    for _ in range(50):
        (client,) = added(strangers, "ours", 1)
        client.session.is_stranger = False  # after it had connected
        clients.append(client)
    assert not any(each.is_gone for each in clients)


def test_who_has_shown_what_it_came_for_does_not_make_room() -> None:
    strangers = Strangers(2)
    clients = added(strangers, "ours", 10, is_stranger=False)
    (stranger,) = added(strangers, "other", 1)
    assert not any(each.is_gone for each in (*clients, stranger))
    for client in clients:
        strangers.discard(client, "ours")
    strangers.discard(stranger, "other")
    assert added(strangers, "new", 2)[-1].is_gone is False


def reads_by_turn(folder: Path, monkeypatch: pytest.MonkeyPatch, turn_ns: int) -> list[int]:
    """How often a connection that sends 8 MB is read in each turn of the loop in which it is."""
    reads: Counter[int] = Counter()
    turn = 0
    receive = Connection.data_received

    def data_received(connection: Connection, data: bytes) -> None:
        reads[turn] += 1
        receive(connection, data)

    monkeypatch.setattr(Connection, "data_received", data_received)

    def next_turn(loop: asyncio.AbstractEventLoop) -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(next_turn, loop)

    async def publish_much() -> None:
        loop = asyncio.get_running_loop()
        async with running_node(folder) as node:
            server = node.nsqd.tcp_server
            server.limits = replace(server.limits, turn_ns=turn_ns)
            with socket.create_connection(("127.0.0.1", node.nsqd.tcp_port)) as client:
                client.setblocking(False)
                next_turn(loop)
                # More than is read at once is there before anything is read.
                await loop.sock_sendall(client, b"  V2" + pub("t", b"x" * 1_000_000) * 8)
                for _ in range(8):
                    assert (await loop.sock_recv(client, 10))[-2:] == b"OK"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(publish_much())
    return list(reads.values())


def test_a_turn_of_the_loop_is_over_for_who_took_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libuv would read up to 32 times, 8 MB of tiny messages: others wait for half a second."""
    reads = reads_by_turn(tmp_path, monkeypatch, turn_ns=0)
    assert len(reads) > 8
    assert max(reads) == 1


def test_what_costs_little_is_read_on_in_the_same_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn more costs large batches a fifth."""
    assert max(reads_by_turn(tmp_path, monkeypatch, turn_ns=10**12)) > 1


class CountingTurn(ReadingTurn):
    """One without time for anybody; notes who was made to wait."""

    def __init__(self) -> None:
        super().__init__(turn_ns=-1)
        self.waited: list[object] = []

    def spend(self, reader: Reader, took_ns: int) -> None:
        self.waited.append(reader)
        super().spend(reader, took_ns)


async def test_strangers_wait_for_their_turn_and_all_are_served(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        turn = node.nsqd.tcp_server.strangers_turn = CountingTurn()
        clients = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", node.nsqd.tcp_port)
            writer.write(b"  V2" + b"NOP\n" * 1000)
            clients.append((reader, writer))
        for reader, writer in clients:
            writer.write(pub("t", b"x"))
            assert (await reader.readexactly(10))[-2:] == b"OK"
        assert len(set(turn.waited)) == 20
        waited = len(turn.waited)
        for reader, writer in clients:  # none of them is a stranger any more
            writer.write(pub("t", b"x"))
            assert (await reader.readexactly(10))[-2:] == b"OK"
            writer.close()
        assert len(turn.waited) == waited
