"""TLS below a protocol: what it is told, what its writes become, and how either end ends."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from nsqx.net.addresses import listen_on, serve
from nsqx.net.tls import server_context
from nsqx.net.tls_transport import TlsBelow
from tests.support.certificates import Authority


class Server(asyncio.Protocol):
    """Notes what it is told; what it does then is the test's."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.transport: asyncio.Transport
        self.ended, self.lost = asyncio.Event(), asyncio.Event()
        self.is_paused = False
        self.stays_open = True
        self.on_data: Callable[[bytes], None] = lambda _data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.on_data(data)

    def eof_received(self) -> bool:
        self.ended.set()
        return self.stays_open

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


class Client:
    """The other end, which can end its direction in each way there is."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._port = port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                async with asyncio.timeout(20):
                    self._incoming.write(await self.reader.read(65536))
            else:
                return self._flush()

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def say_the_end(self) -> None:
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def just_end(self) -> None:
        self.writer.write_eof()

    def say_the_end_and_end(self) -> None:
        self.say_the_end()
        self.just_end()

    async def read(self, count: int) -> bytes:
        """Return at least so many bytes, or fewer if the server ends."""
        received = bytearray()
        async with asyncio.timeout(20):
            while len(received) < count:
                try:
                    piece = self._tls.read(65536)
                except ssl.SSLWantReadError:
                    self._incoming.write(await self.reader.read(65536))
                    if self.reader.at_eof():
                        break
                except ssl.SSLError:
                    break
                else:
                    if not piece:
                        break
                    received += piece
        return bytes(received)

    def _flush(self) -> None:
        self.writer.write(self._outgoing.read())


@asynccontextmanager
async def listening(
    folder: Path, server: Server, handshake_s: float = 20.0
) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    authority = Authority(folder)
    identity = authority.server()
    context = server_context(str(identity.certificate), str(identity.key))
    listener = listen_on("127.0.0.1:0", "--https-address")
    port = listener.getsockname()[1]
    acceptor = serve(lambda: TlsBelow(server, context, handshake_s), listener)
    try:
        yield port, authority.client_context()
    finally:
        await acceptor.close()


@asynccontextmanager
async def connected(folder: Path, server: Server) -> AsyncIterator[Client]:
    async with listening(folder, server) as (port, context):
        client = Client(context, port)
        await client.connect()
        try:
            yield client
        finally:
            client.writer.transport.abort()
            server.transport.abort()  # it may want to stay open
            async with asyncio.timeout(20):
                await server.lost.wait()


async def test_both_directions_carry_more_than_any_buffer(tmp_path: Path) -> None:
    server, big = Server(), bytes(range(256)) * 8192
    server.on_data = lambda data: server.transport.writelines([data[:1], data[1:]])
    async with connected(tmp_path, server) as client:
        client.send(big)
        assert await client.read(len(big)) == big
    assert server.received == big


@pytest.mark.parametrize("end", [Client.say_the_end, Client.just_end, Client.say_the_end_and_end])
async def test_a_peer_that_sends_nothing_more_still_gets_what_is_written(
    tmp_path: Path, end: Callable[[Client], None]
) -> None:
    server = Server()
    async with connected(tmp_path, server) as client:
        client.send(b"question")
        end(client)
        await server.ended.wait()
        await asyncio.sleep(0)
        server.transport.write(b"answer")
        server.transport.close()
        server.transport.write(b"too late")
        assert await client.read(100) == b"answer"
    assert server.received == b"question"


async def test_a_protocol_that_does_not_stay_open_is_closed_with_the_end_of_its_peer(
    tmp_path: Path,
) -> None:
    server = Server()
    server.stays_open = False
    async with connected(tmp_path, server) as client:
        client.say_the_end()
        assert await client.read(100) == b""
        await server.lost.wait()
        assert server.transport.is_closing()


async def test_what_is_known_of_the_connection(tmp_path: Path) -> None:
    server = Server()
    async with connected(tmp_path, server) as client:
        client.send(b"x")
        await client.reader.read(1)  # the tickets of TLS 1.3: the handshake is over
        info = server.transport.get_extra_info
        assert isinstance(info("sslcontext"), ssl.SSLContext)
        assert isinstance(info("ssl_object"), ssl.SSLObject)
        assert info("peername")[0] == "127.0.0.1"
        assert info("nothing", "else") == "else"
        assert not server.transport.can_write_eof()


async def test_a_peer_that_reads_nothing_pauses_the_writer(tmp_path: Path) -> None:
    server = Server()
    server.on_data = lambda _data: server.transport.write(bytes(16 << 20))
    async with connected(tmp_path, server) as client:
        client.send(b"x")
        assert len(await client.read(1)) > 0
        assert server.is_paused
        assert len(await client.read((16 << 20) - 65536)) >= (16 << 20) - 65536
        assert not server.is_paused


async def test_what_is_no_tls_is_closed_and_the_protocol_hears_nothing(tmp_path: Path) -> None:
    server = Server()
    async with listening(tmp_path, server) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert len(await reader.read()) < 50  # an alert
        writer.close()
    assert not hasattr(server, "transport")


async def test_a_handshake_that_never_ends_has_its_time(tmp_path: Path) -> None:
    server = Server()
    async with listening(tmp_path, server, handshake_s=0.01) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    assert not hasattr(server, "transport")


async def test_damage_behind_the_handshake_ends_the_connection(tmp_path: Path) -> None:
    server = Server()
    async with connected(tmp_path, server) as client:
        client.writer.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        async with asyncio.timeout(20):
            await server.lost.wait()
    assert server.received == b""
