"""What strangers do. Each goes on until it is cancelled."""

import asyncio
import json
import random
import struct
import zlib
from collections.abc import Awaitable, Callable

from nsqx.protocol import commands, lookup
from tests.strangers.stranger import Behaviour, Line, Stranger

__all__ = ["BEHAVIOURS"]

HELLO = b"  V2"
BIG = b"x" * (5 * 1024 * 1024 - 64)
Talk = Callable[[Line], Awaitable[None]]


def identify(**fields: object) -> bytes:
    return commands.identify(json.dumps({"feature_negotiation": True, **fields}).encode())


def sized(line: bytes, announced: int, sent: bytes) -> bytes:
    return line + struct.pack(">I", announced) + sent


def holding(port: str, data: bytes, count: int = 200) -> Behaviour:
    """Connections that send something and stay, for as long as they may."""

    async def hold(line: Line) -> None:
        await line.send(data)
        await line.read_all()

    async def behave(stranger: Stranger) -> None:
        await stranger.many(port, hold, count)

    return behave


def repeating(port: str, greeting: bytes, data: bytes, count: int = 4) -> Behaviour:
    """Connections that send the same over and over, and read what comes."""

    async def repeat(line: Line) -> None:
        reading = asyncio.create_task(line.read_all())
        try:
            await line.send(greeting)
            while not reading.done():
                await line.send(data)
                await asyncio.sleep(0.01)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def behave(stranger: Stranger) -> None:
        await stranger.many(port, repeat, count)

    return behave


def deaf(port: str, data: bytes, count: int = 50) -> Behaviour:
    """Connections that send as much as is taken, and read nothing."""

    async def pour(line: Line) -> None:
        line.reader._transport.pause_reading()  # type: ignore[attr-defined]  # no other way
        while True:
            await line.send(data)
            await asyncio.sleep(0)

    async def behave(stranger: Stranger) -> None:
        await stranger.many(port, pour, count)

    return behave


def dripping(port: str, data: bytes, count: int = 200) -> Behaviour:
    """Connections that send a byte now and then."""

    async def drip(line: Line) -> None:
        for place in range(len(data)):
            await line.send(data[place : place + 1])
            await asyncio.sleep(0.5)

    async def behave(stranger: Stranger) -> None:
        await stranger.many(port, drip, count)

    return behave


def made(port: str, make: Callable[[], bytes], count: int = 4) -> Behaviour:
    """Connections that send something else each time and read one answer."""

    async def ask(line: Line) -> None:
        while True:
            await line.send(make())
            if not await line.read():
                return

    async def behave(stranger: Stranger) -> None:
        await stranger.many(port, ask, count)

    return behave


async def churn(stranger: Stranger) -> None:
    """Connect and leave, as fast as it goes."""
    while True:
        try:
            async with stranger.line("nsqd"):
                pass
        except OSError:
            await asyncio.sleep(0.05)


async def garbage(stranger: Stranger) -> None:
    ports = list(stranger.ports)

    async def talk(line: Line) -> None:
        await line.send(random.randbytes(random.randrange(1, 20_000)))
        await line.read()

    await asyncio.gather(*(stranger.many(port, talk, 10) for port in ports))


def deflate_bomb() -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(b"\n" * 50_000_000) + compressor.flush(zlib.Z_SYNC_FLUSH)


def register(number: int) -> bytes:
    topics = (f"rubbish{random.getrandbits(60):x}" for _ in range(number))
    return b"".join(lookup.encode_register(topic) for topic in topics)


def node() -> bytes:
    """An nsqd that nobody knows, with the longest names that are taken."""
    info = lookup.PeerInfo(
        broadcast_address="a" * 60, hostname="h" * 200, http_port=1, tcp_port=2, version="v" * 50
    )
    return lookup.MAGIC + lookup.encode_identify(info)


def get(path: str, **headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: a", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def post(path: str, length: int, sent: bytes = b"") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode() + sent


def new_topic(path: str = "/topic/create") -> bytes:
    return post(f"{path}?topic=rubbish{random.getrandbits(60):x}", 0)


WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
}
SUBSCRIPTION = b"\x81\x98\0\0\0\0" + b'{"sub": ["summary", ""]}'
HUGE_HEAD = b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: %s\r\n" % (n, b"y" * 4000) for n in range(200))

GREETED = HELLO + identify()

# 30 of them.
BEHAVIOURS: dict[str, Behaviour] = {
    "nsqd: silent": holding("nsqd", b""),
    "nsqd: hello and nothing else": holding("nsqd", HELLO),
    "nsqd: a byte now and then": dripping("nsqd", HELLO + b"IDENTIFY\n" + b"\0" * 1000),
    "nsqd: endless IDENTIFY": holding("nsqd", HELLO + sized(b"IDENTIFY\n", 60_000, b"{" * 59_999)),
    "nsqd: long texts": holding(
        "nsqd",
        HELLO + identify(**dict.fromkeys(("client_id", "hostname", "user_agent"), "u" * 20_000)),
    ),
    "nsqd: too long IDENTIFY": holding("nsqd", HELLO + sized(b"IDENTIFY\n", 2**31 - 1, BIG)),
    "nsqd: endless AUTH": holding("nsqd", GREETED + sized(b"AUTH\n", 65_000, b"s" * 64_999)),
    "nsqd: guesses": made("nsqd", lambda: GREETED + sized(b"AUTH\n", 6, b"denied")),
    "nsqd: publishes without a right": holding(
        "nsqd",
        HELLO + sized(b"MPUB t\n", len(BIG) + 8, struct.pack(">II", 1, len(BIG)) + BIG[:-1]),
        40,
    ),
    "nsqd: long bodies without a right": holding(
        "nsqd", GREETED + sized(b"PUB t\n", 1_000_000, BIG[:999_999]), 100
    ),
    "nsqd: bombs": holding(
        "nsqd", HELLO + identify(deflate=True, deflate_level=9) + deflate_bomb(), 20
    ),
    "nsqd: NOPs without end": repeating("nsqd", GREETED, b"NOP\n" * 1000),
    "nsqd: lines without end": deaf("nsqd", b"PUB " + b"t" * 100_000),
    "nsqd: comes and goes": churn,
    "all: garbage": garbage,
    "nsqd-http: silent": holding("nsqd-http", b""),
    "nsqd-http: heads that do not end": holding("nsqd-http", HUGE_HEAD),
    "nsqd-http: dripping heads": dripping("nsqd-http", b"GET /stats HTTP/1.1\r\nX: " + b"y" * 1000),
    "nsqd-http: bodies that do not come": holding(
        "nsqd-http", post("/pub?topic=t", 1_000_000, b"b" * 99_999)
    ),
    "nsqd-http: one question and stays": holding("nsqd-http", get("/ping")),
    "nsqd-http: pipelines, deaf": deaf("nsqd-http", get("/stats") * 2000),
    "nsqd-http: asks for all of it": repeating("nsqd-http", b"", get("/stats?format=json"), 2),
    "lookupd: silent": holding("lookupd", b""),
    "lookupd: endless IDENTIFY": holding(
        "lookupd", lookup.MAGIC + sized(b"IDENTIFY\n", 1_000_000, b"{" * 999_999)
    ),
    "lookupd: registers without end": made("lookupd", lambda: node() + register(500)),
    "lookupd-http: makes topics": made("lookupd-http", new_topic, 2),
    "lookupd-http: watches": holding("lookupd-http", get("/watch?topic=t&index=1") * 50),
    "lookupd-http: heads that do not end": holding("lookupd-http", HUGE_HEAD),
    "admin: pages that take no news": holding(
        "admin",
        get("/api/v2/ws", **WEBSOCKET) + b"\x81\x98\0\0\0\0" + b'{"sub": ["summary", ""]}',
        150,
    ),
    "admin: asks for all of it": deaf("admin", get("/api/topics") * 500, 20),
}
