"""TLS and compression between a socket and a session, against the other end in memory."""

import ssl
import zlib
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pytest

from nsqx.nsqd.edge.layers import CompressionLayer, TlsLayer
from nsqx.nsqd.options import NsqdOptions
from nsqx.nsqd.tls import server_context
from nsqx.protocol.compression import (
    DeflateCompressor,
    DeflateDecompressor,
    SnappyCompressor,
    SnappyDecompressor,
)
from nsqx.protocol.errors import CompressionError
from tests.support.certificates import Authority


class TlsClient:
    """The other end of a TlsLayer."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing)

    def handshake(self, data: bytes) -> bytes:
        self._incoming.write(data)
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    def send(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self._outgoing.read()

    def receive(self, data: bytes) -> bytes:
        self._incoming.write(data)
        return self.tls.read()

    def end(self) -> bytes:
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def layer(authority: Authority) -> TlsLayer:
    server = authority.server()
    context = server_context(NsqdOptions(tls_cert=str(server.certificate), tls_key=str(server.key)))
    assert context is not None
    return TlsLayer(context)


@pytest.fixture
def client(authority: Authority, layer: TlsLayer) -> TlsClient:
    """A client that has shaken hands with the layer."""
    client = TlsClient(authority.client_context())
    answer = b""
    while not layer.is_established:
        answer = layer.handshake(client.handshake(answer))
    client.handshake(answer)
    return client


def test_both_ways(layer: TlsLayer, client: TlsClient) -> None:
    assert layer.receive(client.send(b"hello")) == [b"hello"]
    assert client.receive(layer.send(b"good day")) == b"good day"
    assert not layer.is_ended


def test_a_record_in_two_reads(layer: TlsLayer, client: TlsClient) -> None:
    record = client.send(b"hello")
    assert layer.receive(record[:7]) == []
    assert layer.receive(record[7:]) == [b"hello"]


def test_the_client_says_that_nothing_more_will_come(layer: TlsLayer, client: TlsClient) -> None:
    assert layer.receive(client.send(b"last words") + client.end()) == [b"last words"]
    assert layer.is_ended


def test_the_client_is_told_that_nothing_more_will_come(layer: TlsLayer, client: TlsClient) -> None:
    assert client.receive(layer.send(b"last words") + layer.end()) == b"last words"
    assert client.tls.read() == b""


def test_nonsense_in_a_handshake_is_an_error(layer: TlsLayer) -> None:
    with pytest.raises(ssl.SSLError):
        layer.handshake(b"this is not a handshake")


def test_a_client_without_a_version_in_common_is_sent_an_alert(authority: Authority) -> None:
    server = authority.server()
    context = server_context(
        NsqdOptions(
            tls_cert=str(server.certificate),
            tls_key=str(server.key),
            tls_min_version=ssl.TLSVersion.TLSv1_3,
        )
    )
    assert context is not None
    layer = TlsLayer(context)
    old = authority.client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        layer.handshake(TlsClient(old).handshake(b""))
    assert layer.failure()[:1] == b"\x15"


def test_nonsense_after_the_handshake_is_an_error(layer: TlsLayer, client: TlsClient) -> None:
    record = bytearray(client.send(b"hello"))
    record[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        layer.receive(bytes(record))


def test_who_is_there(layer: TlsLayer, client: TlsClient) -> None:
    version, suite, common_name = layer.describe()
    assert version == "TLS1.3"
    assert suite.startswith("Unknown ")
    assert common_name == ""


def test_deflate_both_ways() -> None:
    layer = CompressionLayer(DeflateCompressor(6), DeflateDecompressor())
    peer = CompressionLayer(DeflateCompressor(6), DeflateDecompressor())
    assert b"".join(layer.receive(peer.send(b"hello"))) == b"hello"
    assert b"".join(peer.receive(layer.send(b"good day"))) == b"good day"
    assert layer.end() == b""


def test_the_end_of_a_deflate_stream_is_the_end() -> None:
    layer = CompressionLayer(DeflateCompressor(6), DeflateDecompressor())
    stream = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = stream.compress(b"last words") + stream.flush()
    assert b"".join(layer.receive(data)) == b"last words"
    assert layer.is_ended


def test_what_swells_comes_in_pieces() -> None:
    layer = CompressionLayer(DeflateCompressor(6), DeflateDecompressor())
    peer = DeflateCompressor(9)
    swollen = bytes(10_000_000)
    pieces = list(layer.receive(peer.compress(swollen)))
    assert max(map(len, pieces)) <= 256 * 1024
    assert sum(map(len, pieces)) == len(swollen)
    assert not layer.is_ended


def test_snappy_nonsense_is_an_error() -> None:
    layer = CompressionLayer(SnappyCompressor(), SnappyDecompressor())
    with pytest.raises(CompressionError):
        list(chain(layer.receive(b"this is not a snappy stream")))
