"""Bytes that made a parser fail once, each with its target."""

__all__ = ["FOUND"]

FOUND: tuple[tuple[str, bytes], ...] = (
    ("checkpoint", b"\0\0\0\0"),  # the checksum of nothing is 0: not msgpack, and no map
)
