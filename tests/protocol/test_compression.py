"""Both compressions in both directions: exact bytes, damage, and what a peer can make us hold."""

import random
import zlib
from collections.abc import Callable
from itertools import pairwise

import cramjam
import pytest
from hypothesis import given, strategies as st

from nsqx.protocol.compression import (
    OUTPUT_BYTES_MAX,
    Compressor,
    Decompressor,
    DeflateCompressor,
    DeflateDecompressor,
    SnappyCompressor,
    SnappyDecompressor,
)
from nsqx.protocol.errors import CompressionError

IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"
# "hi" as it is: type 1, six bytes, checksum, data.
HI_CHUNK = b"\x01\x06\x00\x00\x13\xd6\x08Vhi"

PAIRS: dict[str, tuple[Callable[[], Compressor], Callable[[], Decompressor]]] = {
    "snappy": (SnappyCompressor, SnappyDecompressor),
    "deflate": (lambda: DeflateCompressor(6), DeflateDecompressor),
}


@pytest.fixture(params=list(PAIRS))
def pair(request: pytest.FixtureRequest) -> tuple[Compressor, Decompressor]:
    compressor, decompressor = PAIRS[request.param]
    return compressor(), decompressor()


def drain(decompressor: Decompressor, data: bytes) -> bytes:
    parts = [decompressor.decompress(data)]
    while decompressor.pending:
        parts.append(decompressor.decompress(b""))
    return b"".join(parts)


# Both


def test_every_flush_can_be_read_at_once(pair: tuple[Compressor, Decompressor]) -> None:
    compressor, decompressor = pair
    for piece in (b"NOP\n", b"PUB t\n", b"x" * 300_000, bytes(range(256)) * 300):
        assert drain(decompressor, compressor.compress(piece)) == piece


def test_nothing_gives_nothing(pair: tuple[Compressor, Decompressor]) -> None:
    compressor, decompressor = pair
    assert compressor.compress(b"") == b""
    assert decompressor.decompress(b"") == b""
    assert not decompressor.pending


@given(
    st.sampled_from(list(PAIRS)),
    st.lists(st.binary(max_size=400), max_size=6),
    st.lists(st.integers(0, 5000), max_size=10),
)
def test_what_goes_in_comes_out_however_it_is_cut(
    kind: str, pieces: list[bytes], positions: list[int]
) -> None:
    compressor, decompressor = PAIRS[kind][0](), PAIRS[kind][1]()
    stream = b"".join(compressor.compress(piece) for piece in pieces)
    edges = [0, *sorted(position % (len(stream) + 1) for position in positions), len(stream)]
    output = [drain(decompressor, stream[start:end]) for start, end in pairwise(edges)]
    assert b"".join(output) == b"".join(pieces)


@given(st.sampled_from(list(PAIRS)), st.binary(max_size=200), st.integers(0, 200))
def test_garbage_raises_our_error_or_nothing(kind: str, garbage: bytes, cut: int) -> None:
    decompressor = PAIRS[kind][1]()
    try:
        for piece in (garbage[:cut], garbage[cut:]):
            drain(decompressor, piece)
    except CompressionError:
        pass


def test_a_bomb_comes_out_in_bounded_pieces(pair: tuple[Compressor, Decompressor]) -> None:
    compressor, decompressor = pair
    bomb = compressor.compress(bytes(8 * OUTPUT_BYTES_MAX))
    sizes = [len(decompressor.decompress(bomb))]
    while decompressor.pending:
        sizes.append(len(decompressor.decompress(b"")))
    assert sum(sizes) == 8 * OUTPUT_BYTES_MAX
    assert max(sizes) < OUTPUT_BYTES_MAX + 65_536


def test_output_of_exactly_the_bound_loses_nothing(pair: tuple[Compressor, Decompressor]) -> None:
    compressor, decompressor = pair
    for size in (OUTPUT_BYTES_MAX - 1, OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX + 1):
        data = random.Random(size).randbytes(1000) * (size // 1000) + bytes(size % 1000)
        assert drain(decompressor, compressor.compress(data)) == data


# Snappy


def test_the_identifier_comes_once_and_short_data_as_it_is() -> None:
    compressor = SnappyCompressor()
    assert compressor.compress(b"hi") == IDENTIFIER + HI_CHUNK
    assert compressor.compress(b"hi") == HI_CHUNK


def test_chunks_hold_at_most_64_kib() -> None:
    stream = SnappyCompressor().compress(random.Random(1).randbytes(65_536 + 1))
    size = 4 + 65_536
    assert stream[10:14] == b"\x01" + size.to_bytes(3, "little")
    assert stream[14 + size : 14 + size + 4] == b"\x01\x05\x00\x00"


def test_another_implementation_reads_and_writes_the_same_format() -> None:
    data = b"some text, some text, some text" * 5000
    assert bytes(cramjam.snappy.decompress(SnappyCompressor().compress(data))) == data
    assert SnappyDecompressor().decompress(bytes(cramjam.snappy.compress(data))) == data


def test_padding_and_unknown_chunks_are_skipped_without_being_held() -> None:
    decompressor = SnappyDecompressor()
    assert decompressor.decompress(IDENTIFIER + b"\xfe\x03\x00\x00abc" + HI_CHUNK) == b"hi"
    assert decompressor.decompress(b"\x80\xff\xff\xff") == b""
    for _ in range(255):
        assert decompressor.decompress(bytes(65_536)) == b""
    assert decompressor.decompress(bytes(65_535) + HI_CHUNK + IDENTIFIER + HI_CHUNK) == b"hihi"


def bad_preamble() -> bytes:
    content = bytes(4) + b"\xff\xff\xff\xff\x0f" + b"xx"  # claims 4 GiB
    return b"\x00" + len(content).to_bytes(3, "little") + content


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (HI_CHUNK, "must begin with its identifier"),
        (b"\xff\x06\x00\x00sNaPpX", "identifier is damaged"),
        (b"\xff\x05\x00\x00sNaPp", "identifier is damaged"),
        (IDENTIFIER + HI_CHUNK[:-1] + b"j", "checksum"),
        (IDENTIFIER + b"\x01\x03\x00\x00abc", "no checksum"),
        (IDENTIFIER + b"\x02\x00\x00\x00", "type 0x02"),
        (IDENTIFIER + b"\x7f\x00\x00\x00", "type 0x7f"),
        (IDENTIFIER + b"\x00\xff\xff\xff", "with 16777215 bytes"),
        (IDENTIFIER + b"\x00\x06\x00\x00\0\0\0\0\xff\xff", "is damaged"),
        (IDENTIFIER + b"\x00\x06\x00\x00\0\0\0\0\x05\x00", "is damaged"),
        (IDENTIFIER + bad_preamble(), "would hold 4294967295 bytes"),
        (IDENTIFIER + b"\x01\x05\x00\x01" + bytes(65_541), "holds 65537 bytes"),
    ],
)
def test_damaged_snappy_streams(stream: bytes, reason: str) -> None:
    with pytest.raises(CompressionError, match=reason):
        SnappyDecompressor().decompress(stream)


# Deflate


@pytest.mark.parametrize("level", range(1, 10))
def test_deflate_has_no_header_and_ends_each_flush_with_a_sync(level: int) -> None:
    compressor = DeflateCompressor(level)
    stream = compressor.compress(b"hello")
    assert stream.endswith(b"\x00\x00\xff\xff")
    assert zlib.decompressobj(-15).decompress(stream) == b"hello"


def test_damaged_deflate_streams() -> None:
    with pytest.raises(CompressionError, match="is damaged"):
        DeflateDecompressor().decompress(b"\xff\xff\xff\xff")
    with pytest.raises(CompressionError, match="is damaged"):
        DeflateDecompressor().decompress(zlib.compress(b"with a zlib header" * 10))


def test_a_deflate_stream_may_end_but_not_go_on() -> None:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    ended = stream.compress(b"last words") + stream.flush(zlib.Z_FINISH)
    decompressor = DeflateDecompressor()
    assert decompressor.decompress(ended) == b"last words"
    assert decompressor.ended
    with pytest.raises(CompressionError, match="after the end"):
        decompressor.decompress(b"x")
    with pytest.raises(CompressionError, match="after the end"):
        DeflateDecompressor().decompress(ended + b"x")
