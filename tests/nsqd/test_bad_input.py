"""
What a broken or hostile client sends, on a real process (protocol sections 3 and 5).

Each kind of nonsense costs its sender the connection and nobody else anything: a well-behaved
client publishes and consumes all the while, and the broker's memory stays where it was.
"""

import asyncio
import random
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.processes import Cluster, Nsqd, running_cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")

MSG_BYTES_MAX = 1_048_576  # --max-msg-size
OK = b"\0\0\0\6\0\0\0\0OK"
SECONDS_MAX = 20.0
MEMORY_GROWTH_BYTES_MAX = 24 * 1024 * 1024


@dataclass
class Peer:
    """A client that says what it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def flood(self, data: bytes, times: int) -> None:
        """Send a lot, as far as the broker takes it."""
        with suppress(ConnectionError):
            for _ in range(times):
                self.writer.write(data)
                await self.writer.drain()

    async def frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(SECONDS_MAX):
            size, kind = struct.unpack(">ii", await self.reader.readexactly(8))
            return kind, await self.reader.readexactly(size - 4)

    async def expect_error(self, text: str) -> None:
        """An error and the end of the connection."""
        kind, data = await self.frame()
        assert (kind, data.decode("latin-1")) == (1, text)
        await self.expect_end()

    async def expect_end(self) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            with suppress(ConnectionError):
                assert await self.reader.read() == b""


@asynccontextmanager
async def connected(node: Nsqd, magic: bytes = b"  V2") -> AsyncIterator[Peer]:
    host, _, port = node.tcp_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(magic)
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("bad-input")) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(cluster: Cluster) -> Nsqd:
    return await cluster.nsqd()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def bystander(node: Nsqd) -> AsyncIterator[None]:
    """A client that was there before the nonsense, and does not notice it."""
    async with connected(node) as peer:
        peer.send(b"SUB bystander ch\nRDY 1\n")
        assert await peer.frame() == (0, b"OK")
        before = memory_bytes(node)
        yield
        peer.send(b"PUB bystander\n\0\0\0\5hello")
        frames = [await peer.frame(), await peer.frame()]
        assert (0, b"OK") in frames
        (message,) = [data for kind, data in frames if kind == 2]
        assert message.endswith(b"hello")
        peer.send(b"FIN %b\nNOP\n" % message[10:26])
        assert memory_bytes(node) - before < MEMORY_GROWTH_BYTES_MAX
    assert node.running
    assert not [line for line in node.log if "Traceback" in line or " ERROR: " in line]


def memory_bytes(node: Nsqd) -> int:
    """Return how much of the machine's memory the broker has now."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"PUB t\n\x7f\xff\xff\xff", "E_BAD_MESSAGE PUB message too big 2147483647 > 1048576"),
        (b"PUB t\n\0\x10\0\1", "E_BAD_MESSAGE PUB message too big 1048577 > 1048576"),
        (b"DPUB t 0\n\0\x10\0\1", "E_BAD_MESSAGE DPUB message too big 1048577 > 1048576"),
        (b"MPUB t\n\0\x50\0\1", "E_BAD_BODY MPUB body too big 5242881 > 5242880"),
        (
            b"MPUB t\n\0\0\0\x0d\0\0\0\1\x7f\xff\xff\xff",
            "E_BAD_MESSAGE MPUB message too big 2147483647 > 1048576",
        ),
        # Who is not known yet may send less (decision 86).
        (b"IDENTIFY\n\0\0\x40\1", "E_BAD_BODY IDENTIFY body too big 16385 > 16384"),
        (b"AUTH\n\0\0\x40\1", "E_BAD_BODY AUTH body too big 16385 > 16384"),
    ],
)
async def test_an_oversized_body_fails_before_it_arrives(
    node: Nsqd, sent: bytes, error: str
) -> None:
    async with connected(node) as peer:
        peer.send(sent)
        await peer.expect_error(error)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"PUB t\n\xff\xff\xff\xff", "E_BAD_MESSAGE PUB invalid message body size -1"),
        (b"PUB t\n\0\0\0\0", "E_BAD_MESSAGE PUB invalid message body size 0"),
        (b"DPUB t 0\n\x80\0\0\0", "E_BAD_MESSAGE DPUB invalid message body size -2147483648"),
        (b"MPUB t\n\xff\xff\xff\xff", "E_BAD_BODY MPUB invalid body size -1"),
        (b"MPUB t\n\0\0\0\x08\xff\xff\xff\xff", "E_BAD_BODY MPUB invalid message count -1"),
        (
            b"MPUB t\n\0\0\0\x08\0\0\0\1\xff\xff\xff\xff",
            "E_BAD_MESSAGE MPUB invalid message(0) body size -1",
        ),
        (b"IDENTIFY\n\xff\xff\xff\xff", "E_BAD_BODY IDENTIFY invalid body size -1"),
        (b"AUTH\n\xff\xff\xff\xff", "E_BAD_BODY AUTH invalid body size -1"),
    ],
)
async def test_a_size_below_one_is_refused(node: Nsqd, sent: bytes, error: str) -> None:
    async with connected(node) as peer:
        peer.send(sent)
        await peer.expect_error(error)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"PUB bad topic$\n\0\0\0\1x", None),
        (b"PUB t$\n", 'E_BAD_TOPIC PUB topic name "t$" is not valid'),
        (b"PUB ../../etc\n", 'E_BAD_TOPIC PUB topic name "../../etc" is not valid'),
        (b"PUB " + b"x" * 65 + b"\n", f'E_BAD_TOPIC PUB topic name "{"x" * 65}" is not valid'),
        (b"PUB t\0\n", 'E_BAD_TOPIC PUB topic name "t\\x00" is not valid'),
        (b"MPUB t$\n", 'E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "t$" is not valid'),
        (b"SUB t$ ch\n", 'E_BAD_TOPIC SUB topic name "t$" is not valid'),
        (b"SUB t ch/..\n", 'E_BAD_CHANNEL SUB channel name "ch/.." is not valid'),
    ],
)
async def test_a_bad_name_is_refused(node: Nsqd, sent: bytes, error: str | None) -> None:
    async with connected(node) as peer:
        peer.send(sent)
        if error is None:  # surplus words do not count: the topic is "bad"
            assert await peer.frame() == (0, b"OK")
        else:
            await peer.expect_error(error)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"GET / HTTP/1.1\n", "E_INVALID invalid command GET"),
        (b"\n", "E_INVALID invalid command "),
        (b"pub t\n", "E_INVALID invalid command pub"),
        (b"\xff\xfe\n", "E_INVALID invalid command \xff\xfe"),
        (b"PUB\n", "E_INVALID PUB insufficient number of parameters"),
        (b"DPUB t x\n", "E_INVALID DPUB could not parse timeout x"),
    ],
)
async def test_a_bad_command_is_refused(node: Nsqd, sent: bytes, error: str) -> None:
    async with connected(node) as peer:
        peer.send(sent)
        await peer.expect_error(error)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"RDY 1\n", "E_INVALID cannot RDY in current state"),
        (b"FIN 0123456789abcdef\n", "E_INVALID cannot FIN in current state"),
        (b"CLS\n", "E_INVALID cannot CLS in current state"),
    ],
)
async def test_a_command_in_the_wrong_state_is_refused(node: Nsqd, sent: bytes, error: str) -> None:
    async with connected(node) as peer:
        peer.send(sent)
        await peer.expect_error(error)


async def test_a_second_subscription_is_refused(node: Nsqd) -> None:
    async with connected(node) as peer:
        peer.send(b"SUB t ch\nSUB t ch\n")
        assert await peer.frame() == (0, b"OK")
        await peer.expect_error("E_INVALID cannot SUB in current state")


@pytest.mark.parametrize("magic", [b"  V1", b"GET ", b"\x16\x03\x01\x02"])
async def test_another_protocol_is_refused(node: Nsqd, magic: bytes) -> None:
    async with connected(node, magic) as peer:
        await peer.expect_error("E_BAD_PROTOCOL")


async def test_a_megabyte_without_a_newline_ends_the_connection(node: Nsqd) -> None:
    async with connected(node) as peer:
        await peer.flood(b"x" * 65536, times=16)
        await peer.expect_end()


async def test_half_a_command_then_silence_ends_at_the_deadline(node: Nsqd) -> None:
    async with connected(node) as peer:
        peer.send(b'IDENTIFY\n\0\0\0\x1b{"heartbeat_interval":1000}PUB t\n\0\0\0\x10half')
        assert await peer.frame() == (0, b"OK")
        started = asyncio.get_running_loop().time()
        assert await peer.frame() == (0, b"_heartbeat_")
        async with asyncio.timeout(SECONDS_MAX):
            rest = await peer.reader.read()
        # The second heartbeat and the deadline, two intervals after the command, fall together.
        assert rest in (b"", b"\0\0\0\x0f\0\0\0\0_heartbeat_")
        assert asyncio.get_running_loop().time() - started > 1.8


@pytest.mark.parametrize("sent", [b"PUB t\n\0\0", b"PUB t\n\0\0\0\5he", b"MPUB t\n\0\0"])
async def test_half_a_command_then_the_end(node: Nsqd, sent: bytes) -> None:
    async with connected(node) as peer:
        peer.send(sent)
        peer.writer.write_eof()
        kind, data = await peer.frame()
        assert (kind, b"failed to read" in data) == (1, True)
        await peer.expect_end()


async def test_commands_of_half_a_megabyte_byte_by_byte(node: Nsqd) -> None:
    """What arrives in crumbs is not looked at again and again."""
    body = b"PUB crumbs\n\0\0\x40\0" + b"x" * 16384
    async with connected(node) as peer:
        for start in range(0, len(body), 7):
            peer.send(body[start : start + 7])
            await peer.writer.drain()
        assert await peer.frame() == (0, b"OK")


@pytest.mark.parametrize("seed", range(8))
async def test_random_bytes_end_the_connection(node: Nsqd, seed: int) -> None:
    chance = random.Random(seed)
    async with connected(node) as peer:
        await peer.flood(chance.randbytes(65536), times=4)
        async with asyncio.timeout(SECONDS_MAX):
            with suppress(ConnectionError):
                await peer.reader.read()


@pytest.mark.parametrize("seed", range(8))
async def test_damaged_commands_harm_nobody(node: Nsqd, seed: int) -> None:
    """Right commands with a few wrong bytes: whatever comes of it, the others go on."""
    chance = random.Random(seed)
    commands = bytearray(
        b'IDENTIFY\n\0\0\0\x1c{"feature_negotiation":true}'
        b"SUB noise ch\nRDY 5\nPUB noise\n\0\0\0\1xMPUB noise\n\0\0\0\x09\0\0\0\1\0\0\0\1x"
        b"DPUB noise 5\n\0\0\0\1xFIN 0123456789abcdef\nREQ 0123456789abcdef 0\nCLS\nNOP\n" * 20
    )
    for _ in range(5):
        commands[chance.randrange(len(commands))] = chance.randrange(256)
    async with connected(node) as peer:
        peer.send(bytes(commands))
        peer.writer.write_eof()
        async with asyncio.timeout(SECONDS_MAX):
            try:
                while await peer.reader.read(65536):
                    pass
            except ConnectionError:
                pass


async def test_many_large_bodies_that_never_end_are_bounded(node: Nsqd) -> None:
    """Each connection may hold one message that is not complete, and no more."""
    before = memory_bytes(node)
    async with connected(node) as one, connected(node) as other:
        for peer in (one, other):
            peer.send(b"PUB t\n\0\x10\0\0" + b"x" * (MSG_BYTES_MAX - 1))
            await peer.writer.drain()
        peer.send(b"x")  # it ends after all
        assert await peer.frame() == (0, b"OK")
    assert memory_bytes(node) - before < MEMORY_GROWTH_BYTES_MAX


async def test_a_client_that_does_not_read_is_not_read(node: Nsqd) -> None:
    """Its answers would pile up: 4 MB of NOPs and errors, or of publishes, stay with it."""
    async with connected(node) as peer:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own has it
        peer.send(b"SUB t ch\n")
        failing = b"FIN 0123456789abcdef\n" * 5000
        before = memory_bytes(node)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.flood(failing, times=1000), 2)
        assert memory_bytes(node) - before < MEMORY_GROWTH_BYTES_MAX


async def test_compressed_nonsense_ends_the_connection(node: Nsqd) -> None:
    identify = b'{"feature_negotiation":true,"snappy":true}'
    async with connected(node) as peer:
        peer.send(b"IDENTIFY\n" + struct.pack(">i", len(identify)) + identify)
        assert (await peer.frame())[0] == 0
        peer.send(b"this is not a snappy stream")
        async with asyncio.timeout(SECONDS_MAX):
            with suppress(ConnectionError):
                await peer.reader.read()


async def test_a_deflate_bomb_is_taken_piece_by_piece(node: Nsqd) -> None:
    """Some ten kilobytes that become 16 MB of commands: the others get their turn meanwhile."""
    identify = b'{"feature_negotiation":true,"deflate":true}'
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    nops = b"NOP\n" * 250_000
    bomb = b"".join(compressor.compress(nops) for _ in range(16)) + compressor.flush()
    async with connected(node) as peer, connected(node) as other:
        peer.send(b"IDENTIFY\n" + struct.pack(">i", len(identify)) + identify)
        assert (await peer.frame())[0] == 0
        before = memory_bytes(node)
        peer.send(bomb)
        ended = asyncio.create_task(peer.reader.read())
        answers = 0
        while not ended.done():
            other.send(b"PUB t\n\0\0\0\1x")
            assert await other.frame() == (0, b"OK")
            answers += 1
        await ended
        assert answers > 10
        assert memory_bytes(node) - before < MEMORY_GROWTH_BYTES_MAX
