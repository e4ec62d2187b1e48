"""The compression layer of a connection, loaded only when one is negotiated."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsqx.protocol.compression import Compressor, Decompressor

__all__ = ["CompressionLayer", "make_layer"]


class CompressionLayer:
    """Both directions of one connection."""

    def __init__(self, compressor: "Compressor", decompressor: "Decompressor") -> None:
        self._decompressor = decompressor
        self.compress = compressor.compress

    def decompress(self, data: bytes) -> Iterator[bytes]:
        """
        Yield what received bytes add, in pieces of bounded size.

        Raises:
            CompressionError: they are damaged.
        """
        yield self._decompressor.decompress(data)
        while self._decompressor.pending:
            yield self._decompressor.decompress(b"")


def make_layer(name: str, deflate_level: int) -> CompressionLayer:
    """Return the layer that IDENTIFY granted: ``snappy`` or ``deflate``."""
    # Imported here: most connections are not compressed, and this loads two C libraries.
    from nsqx.protocol import compression

    if name == "snappy":
        return CompressionLayer(compression.SnappyCompressor(), compression.SnappyDecompressor())
    return CompressionLayer(
        compression.DeflateCompressor(deflate_level), compression.DeflateDecompressor()
    )
