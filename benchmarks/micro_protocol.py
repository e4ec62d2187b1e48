"""
What the bytes cost: nanoseconds per message of nsqx.protocol's hot paths.

    python benchmarks/micro_protocol.py [NAME PART]

Best of several runs on one core; nothing but the parsers and encoders is measured. The numbers
in their comments come from here.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from timeit import repeat

from nsqx.protocol import commands
from nsqx.protocol.command_parser import CommandParser, Limits
from nsqx.protocol.compression import (
    DeflateCompressor,
    DeflateDecompressor,
    SnappyCompressor,
    SnappyDecompressor,
)
from nsqx.protocol.frames import OK_FRAME, FrameParser, Message
from nsqx.protocol.messages import encode_messages, frame_offsets, ids_to_hex

Work = tuple[str, int, Callable[[], object]]  # name, messages in one call, call

BODY = b"x" * 200
RUNS = 7
SECONDS_PER_RUN = 0.05
READ_BYTES = 65_536


def subscribed() -> CommandParser:
    parser = CommandParser(Limits())
    parser.receive_data(commands.MAGIC_V2 + commands.sub("topic", "channel"))
    return parser


def reads(data: bytes) -> list[bytes]:
    return [data[at : at + READ_BYTES] for at in range(0, len(data), READ_BYTES)]


def fins(count: int) -> bytes:
    hex_ids = ids_to_hex(0x1700_0000_0000_0000, count)
    return commands.fin_run([hex_ids[at : at + 16] for at in range(0, len(hex_ids), 16)])


def server_parsing() -> Iterator[Work]:
    receive = subscribed().receive_data
    one = commands.pub("topic", BODY)
    yield "PUB, one a read", 1, lambda: receive(one)
    pipelined = one * 100
    yield "PUB, 100 a read", 100, lambda: receive(pipelined)
    for count in (10, 200):
        batch = commands.mpub("topic", [BODY] * count)
        yield f"MPUB of {count}", count, partial(receive, batch)
    large = reads(commands.mpub("topic", [BODY] * 25_000))
    yield "MPUB of 25,000, 64 KiB a read", 25_000, lambda: [receive(piece) for piece in large]
    for count in (1, 10, 200, 1000):
        run = fins(count)
        yield f"FIN, runs of {count}", count, partial(receive, run)
    mixed = commands.rdy(200).join([fins(50)] * 20)
    yield "FIN, runs of 50 with RDY between", 1000, lambda: receive(mixed)
    ready = commands.rdy(200)
    yield "RDY", 1, lambda: receive(ready)


def server_encoding() -> Iterator[Work]:
    for count in (1, 10, 200):
        bodies = [BODY] * count
        yield (
            f"encode messages, batches of {count}",
            count,
            partial(encode_messages, bodies, 1 << 60, 1),
        )
    frames, _ = encode_messages([BODY] * 200, 1 << 60, 1)
    yield "offsets of 200 frames", 200, lambda: frame_offsets(frames)


def client() -> Iterator[Work]:
    receive = FrameParser[Message]().receive_data
    frames, _ = encode_messages([BODY] * 200, 1 << 60, 1)
    yield "parse 200 message frames", 200, lambda: receive(frames)
    answers = OK_FRAME * 100
    yield "parse 100 OK", 100, lambda: receive(answers)
    yield "build PUB", 1, lambda: commands.pub("topic", BODY)
    bodies = [BODY] * 200
    yield "build MPUB of 200", 200, lambda: commands.mpub("topic", bodies)
    ids = [b"%016x" % number for number in range(200)]
    yield "build 200 FIN", 200, lambda: commands.fin_run(ids)


def compression() -> Iterator[Work]:
    frames, _ = encode_messages([b'{"order":%d,"text":"some words"}' % n for n in range(200)], 1, 1)
    snappy, deflate = SnappyCompressor(), DeflateCompressor(6)
    yield "snappy, compress 200 messages", 200, lambda: snappy.compress(frames)
    packed = SnappyCompressor().compress(frames)
    yield "snappy, decompress", 200, lambda: SnappyDecompressor().decompress(packed)
    yield "deflate 6, compress 200 messages", 200, lambda: deflate.compress(frames)
    deflated = DeflateCompressor(6).compress(frames)
    yield "deflate, decompress", 200, lambda: DeflateDecompressor().decompress(deflated)


def measure(messages: int, call: Callable[[], object]) -> float:
    """Return the nanoseconds a message takes, in the best of some runs."""
    once = min(repeat(call, number=1, repeat=3))
    number = max(1, int(SECONDS_PER_RUN / once))
    return min(repeat(call, number=number, repeat=RUNS)) / number / messages * 1e9


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"{'ns a message':>12}")
    for group in (server_parsing, server_encoding, client, compression):
        for name, messages, call in group():
            if wanted in name:
                print(f"{measure(messages, call):12.0f}  {name}")


if __name__ == "__main__":
    main()
