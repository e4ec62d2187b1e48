"""Short conversations that show whether a daemon can be reached: a client's first words."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import msgspec

from nsqx.apps.look.cluster_facts import HANGS, Reach
from nsqx.client.errors import ConnectFailed
from nsqx.client.nsq import Nsq
from nsqx.client.settings import Settings
from nsqx.cluster.http import TLS_FAILED
from nsqx.net.host_port import format_host_port
from nsqx.net.tls import client_context
from nsqx.protocol import commands, lookup
from nsqx.protocol.errors import NsqxError
from nsqx.protocol.frames import ErrorFrame, FrameParser, Message, Response
from nsqx.protocol.version import VERSION

__all__ = ["UnexpectedAnswerError", "ask_http_address", "probe_nsqd", "probe_registrar"]

READ_BYTES = 65536

_Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class UnexpectedAnswerError(NsqxError):
    """Somebody answers there, but not as they should."""


async def probe_nsqd(
    host: str, port: int, timeout_s: float, settings: Settings | None = None
) -> Reach:
    """Connect as a client does, and introduce ourselves; by TLS and AUTH if ``settings`` say so."""
    reach = await _probe(host, port, timeout_s, _identify)
    if settings is None or not reach.is_fine:
        return reach
    began = time.monotonic()
    client = Nsq(nsqd=reach.address, settings=replace(settings, connect_timeout=timeout_s))
    try:
        async with client:
            await client.ready(timeout_s)
    except ConnectFailed as exc:
        return Reach(reach.address, exc.reason)
    return Reach(reach.address, took_s=time.monotonic() - began)


async def ask_http_address(host: str, port: int, timeout_s: float) -> str:
    """
    Return where an nsqd that is known by its TCP address is asked over HTTP.

    Raises:
        UnexpectedAnswerError: it does not say, as NSQ's does not.
        OSError: it can't be reached, or not in time.
    """
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            http_port = _http_port(await _hello(reader, writer, nsqx_extensions=True))
        finally:
            await _hang_up(writer)
    if not http_port:
        raise UnexpectedAnswerError("it has no HTTP port, or does not say so")
    return format_host_port(host, http_port)


def _http_port(answer: bytes) -> int:
    try:
        return msgspec.json.decode(answer, type=_Greeting).nsqx_extensions.http_port
    except msgspec.DecodeError as exc:
        raise UnexpectedAnswerError("it answers to IDENTIFY in another way than nsqd") from exc


class _Extensions(msgspec.Struct):
    http_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class _Greeting(msgspec.Struct):
    nsqx_extensions: _Extensions = msgspec.field(default_factory=_Extensions)


async def probe_registrar(
    host: str, port: int, timeout_s: float, tls: ssl.SSLContext | None = None
) -> Reach:
    """
    Connect to an nsqlookupd as nsqd does, and ping; by ``tls`` where it is spoken.

    Without an IDENTIFY, which would list us as a node.
    """
    plain = await _probe(host, port, timeout_s, _ping)
    if plain.is_fine:
        return plain
    # Whether nsqds accept the certificate is theirs to say.
    context = tls or client_context(verify=False)
    encrypted = await _probe(host, port, timeout_s, _ping, context)
    return encrypted if encrypted.is_fine else plain


async def _probe(
    host: str, port: int, timeout_s: float, talk: _Talk, tls: ssl.SSLContext | None = None
) -> Reach:
    began, is_connected = time.monotonic(), False
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            is_connected = True
            try:
                await talk(reader, writer)
            finally:
                await _hang_up(writer)
    except (OSError, UnexpectedAnswerError, UnicodeError) as exc:  # a TimeoutError is an OSError
        problem = reason(exc, timeout_s)
        if is_connected and isinstance(exc, TimeoutError):
            problem = f"{HANGS} ({problem})"
        return Reach(format_host_port(host, port), problem)
    return Reach(format_host_port(host, port), took_s=time.monotonic() - began)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _identify(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _hello(reader, writer)


async def _hello(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, **wanted: bool
) -> bytes:
    """Introduce ourselves; return what nsqd answers to IDENTIFY."""
    hello = {
        "client_id": "nsqx-doctor",
        "hostname": socket.gethostname(),
        "feature_negotiation": True,
        "user_agent": f"nsqx-doctor/{VERSION}",
        **wanted,
    }
    writer.write(commands.MAGIC_V2 + commands.identify(json.dumps(hello).encode()))
    parser = FrameParser[Message]()
    while not (frames := parser.receive_data(await _read(reader))):
        if parser.error is not None:
            raise UnexpectedAnswerError("it does not speak NSQ's protocol")
    answer = frames[0]
    if isinstance(answer, ErrorFrame):
        raise UnexpectedAnswerError(f"it refuses clients: {answer.line.decode(errors='replace')}")
    if not isinstance(answer, Response) or not answer.data.startswith(b"{"):
        raise UnexpectedAnswerError("it does not answer to IDENTIFY")
    return answer.data


async def _ping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(lookup.MAGIC + lookup.PING)
    received = b""
    while len(received) < len(lookup.OK_ANSWER):
        received += await _read(reader)
    if received != lookup.OK_ANSWER:
        raise UnexpectedAnswerError("it does not speak nsqlookupd's protocol")


async def _read(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(READ_BYTES)
    if not data:
        raise UnexpectedAnswerError("it closes the connection")
    return data


def reason(error: Exception, timeout_s: float) -> str:
    """Say in a few words why somebody could not be reached."""
    match error:
        case TimeoutError():
            return f"no answer in {timeout_s:g} s"
        case ConnectionRefusedError():
            return "connection refused"
        case socket.gaierror() | UnicodeError():
            return "unknown host name"
        case ssl.SSLError():
            return TLS_FAILED
        case OSError() if error.strerror:
            return error.strerror.lower()
    return str(error) or type(error).__name__
