"""
What nsq-ruby expects of an nsqd: of its version, of TLS and of time-outs.

It can't be installed here, so its connection is imitated by what it is known to send and to demand:
it reads major and minor version as numbers and says RDY again and again to what is older than 0.3;
it refuses to run with more in flight than ``max_rdy_count``; it upgrades to TLS whatever the answer
to IDENTIFY says about it; and any response but OK and a heartbeat is the end of the connection.
"""

import asyncio
import json
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.certificates import Authority
from tests.support.processes import Nsqd, running_cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS_MAX = 20.0
RESPONSE, MESSAGE = 0, 2
HEARTBEAT = b"_heartbeat_"
RDY_RENEWED_BELOW = (0, 3)


class RubyConnection:
    """
    One connection, with nsq-ruby's demands as assertions.

    Attributes:
        server: the answer to IDENTIFY.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.server: dict[str, Any] = {}

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        node: Nsqd,
        *,
        context: ssl.SSLContext | None = None,
        max_in_flight: int = 1,
        msg_timeout: int = 60_000,
    ) -> AsyncIterator["RubyConnection"]:
        reader, writer = await asyncio.open_connection(*node.tcp_address.rsplit(":", 1))
        connection = cls(reader, writer)
        try:
            await connection._identify(context is not None, max_in_flight, msg_timeout)
            if context is not None:
                async with asyncio.timeout(SECONDS_MAX):
                    await writer.start_tls(context)
                assert await connection.response() == b"OK"
            yield connection
        finally:
            writer.transport.abort()

    async def _identify(self, is_tls: bool, max_in_flight: int, msg_timeout: int) -> None:
        identity = {
            "client_id": "ruby",
            "hostname": "ruby",
            "feature_negotiation": True,
            "heartbeat_interval": 30_000,
            "output_buffer": 16_000,  # not a field that NSQ knows
            "output_buffer_timeout": 250,
            "tls_v1": is_tls,
            "snappy": False,
            "deflate": False,
            "sample_rate": 0,
            "user_agent": "nsq-ruby/2.4.0",
            "msg_timeout": msg_timeout,
        }
        self.write(b"  V2")
        self.write(b"IDENTIFY\n", json.dumps(identity).encode())
        kind, answer = await self._frame()
        assert kind == RESPONSE
        self.server = json.loads(answer)
        assert max_in_flight <= self.server["max_rdy_count"]

    def write(self, command: bytes, body: bytes | None = None) -> None:
        sized = b"" if body is None else struct.pack(">i", len(body)) + body
        self._writer.write(command + sized)

    async def _frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(SECONDS_MAX):
            size, kind = struct.unpack(">ii", await self._reader.readexactly(8))
            return kind, await self._reader.readexactly(size - 4)

    async def response(self) -> bytes:
        kind, data = await self._frame()
        assert kind == RESPONSE
        assert data in (b"OK", HEARTBEAT)
        return data

    async def message(self) -> tuple[int, bytes, bytes]:
        """Return the attempts, the id and the body of the next frame, which is a message."""
        kind, data = await self._frame()
        assert kind == MESSAGE
        _, attempts, id_, body = struct.unpack(f">QH16s{len(data) - 26}s", data)
        return attempts, id_, body

    async def consume(self, topic: str, ready: int = 1) -> None:
        self.write(f"SUB {topic} ch\n".encode())
        self.write(f"RDY {ready}\n".encode())
        assert await self.response() == b"OK"

    async def publish(self, topic: str, body: bytes) -> None:
        self.write(f"PUB {topic}\n".encode(), body)
        assert await self.response() == b"OK"


async def publish(node: Nsqd, topic: str, body: bytes) -> None:
    async with RubyConnection.opened(node) as producer:
        await producer.publish(topic, body)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Any:
    folder: Path = tmp_path_factory.mktemp("ruby")
    server = authority.server()
    async with running_cluster(folder) as cluster:
        yield await cluster.nsqd(
            f"--tls-cert={server.certificate}",
            f"--tls-key={server.key}",
            "--https-address=127.0.0.1:0",
        )


async def test_its_version_is_numbers_and_needs_no_renewed_rdy(node: Nsqd) -> None:
    async with RubyConnection.opened(node) as connection:
        major, minor, _patch = map(int, connection.server["version"].split("."))
        assert (major, minor) >= RDY_RENEWED_BELOW
        await connection.publish("version", b"a")
        await connection.publish("version", b"b")
        await connection.consume("version")
        for body in (b"a", b"b"):  # after one RDY
            attempts, id_, delivered = await connection.message()
            assert (attempts, delivered) == (1, body)
            connection.write(b"FIN " + id_ + b"\n")


async def test_as_many_in_flight_as_the_answer_allows_are_taken(node: Nsqd) -> None:
    async with RubyConnection.opened(node, max_in_flight=2500) as connection:
        await connection.consume("many", connection.server["max_rdy_count"])
        for body in (b"a", b"b"):
            await publish(node, "many", body)
        assert [(await connection.message())[2] for _ in range(2)] == [b"a", b"b"]


async def test_tls_is_there_for_who_upgrades_at_once(node: Nsqd, authority: Authority) -> None:
    async with RubyConnection.opened(node, context=authority.client_context()) as connection:
        assert connection.server["tls_v1"] is True
        assert connection.server["deflate"] is connection.server["snappy"] is False
        await connection.publish("secret", b"a")


async def test_all_it_publishes_is_answered_by_ok(node: Nsqd) -> None:
    async with RubyConnection.opened(node) as connection:
        several = b"".join(struct.pack(">i", 1) + each for each in (b"b", b"c"))
        connection.write(b"MPUB answers\n", struct.pack(">i", 2) + several)
        assert await connection.response() == b"OK"
        connection.write(b"DPUB answers 3600000\n", b"d")
        assert await connection.response() == b"OK"


async def test_its_time_out_is_that_of_its_messages(node: Nsqd) -> None:
    async with RubyConnection.opened(node, msg_timeout=1000) as connection:
        assert connection.server["msg_timeout"] == 1000
        await connection.publish("late", b"a")
        await connection.consume("late")
        first, id_, _ = await connection.message()
        again, same_id, _ = await connection.message()
        assert (first, again, same_id) == (1, 2, id_)


async def test_a_touch_a_requeue_and_an_end_are_silent(node: Nsqd) -> None:
    async with RubyConnection.opened(node) as connection:
        await connection.publish("silent", b"a")
        await connection.consume("silent")
        _, id_, _ = await connection.message()
        connection.write(b"TOUCH " + id_ + b"\nREQ " + id_ + b" 0\n")
        attempts, same_id, _ = await connection.message()
        assert (attempts, same_id) == (2, id_)
        connection.write(b"FIN " + id_ + b"\nNOP\n")
        await publish(node, "silent", b"b")
        assert (await connection.message())[2] == b"b"  # and no response before it
