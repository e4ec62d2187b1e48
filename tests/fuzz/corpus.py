"""Bytes that made a parser fail once, each with its target."""

import base64

__all__ = ["FOUND"]

_LOW_ID_FRAMES = (
    "AAAAIQAAAAIAZQAAACEAAAACAAAAAAAAAAUAMDAwMDNlOG9uZQAAACEAAAACAAAAAAAAAAUAATAwMDAwMDAwMDAwMDAw"
    "MDAwMDAzZTl0aHJ0aA=="
)
_LOW_ID_IN_SEGMENT = base64.b64decode(
    "gAAAACEAAJ8CAAAAAAAAAAUAATAwMDAwMDAwMDAwMDAzZThvbmUAAAAhAAAAAgAAAAAAAAAFAAEwMDAwMDAwMDAwMDAw"
    "MDAwMDAwMWU5dHcAAAAAAAUAATAwMDAwMDAwMDAwMDAzZWl0aHJlZW5zcW5zcQAAAAAAAAAFAAEwMDAwMDAw0NcwM2U4"
    "b25lAAAAIQAAAAIAAAAAAAAABQABMDAwMDAwMDAwMDAwMDNlAAAAA+gAAAAAAAAABQAAAADCxz52AAAAAAAAAAAAAAAA"
    "AAAABQAAAAAAAAAAAAAAAJ1CZkM="
)

FOUND: tuple[tuple[str, bytes], ...] = (
    ("segment", _LOW_ID_IN_SEGMENT),  # an id below its number made a header with a negative base
    ("frames_without_index", base64.b64decode(_LOW_ID_FRAMES)),
    ("checkpoint", b"\0\0\0\0"),  # the checksum of nothing is 0: not msgpack, and no map
)
