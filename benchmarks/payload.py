"""Bodies: text of the kind that is published, compressible to about half, always the same."""

import random

_WORDS = ("order", "paid", "city", "item", "user", "total", "state", "cart", "price", "shipped")


def make_body(size: int) -> bytes:
    """Exactly ``size`` bytes."""
    chooser = random.Random(size)
    text = bytearray()
    while len(text) < size:
        text += f'"{chooser.choice(_WORDS)}":"{chooser.getrandbits(32):08x}",'.encode()
    return bytes(text[:size])
