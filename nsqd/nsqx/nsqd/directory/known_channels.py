"""
Asks nsqlookupds over HTTP which channels a topic has elsewhere (lookupd section 4).

All are asked at once, and the answer is what any of them knows.
"""

import asyncio
import ssl
from collections.abc import Collection
from functools import cached_property
from urllib.parse import quote as quote_url

import aiohttp
import msgspec

from nsqx.net.addresses import format_host_port
from nsqx.protocol.errors import NsqError, quote
from nsqx.protocol.names import is_ephemeral, is_valid_name
from nsqx.runtime.process import logs

__all__ = ["KnownChannels"]

ANSWER_BYTES_MAX = 5 * 1024 * 1024
_HEADERS = {"Accept": "application/vnd.nsq; version=1.0"}

_log = logs.get_logger("LOOKUPD")


class _Refused(NsqError):
    """No answer, or not the one asked for."""


class _Channels(msgspec.Struct):
    channels: list[str]


class _TlsRequired(msgspec.Struct):
    https_port: int


class KnownChannels:
    """An HTTP client; ``close`` it at the end."""

    def __init__(self, *, connect_s: float, request_s: float, ca_file: str = "") -> None:
        """
        The times are limits for connecting and for a whole request.

        ``ca_file`` holds the certificates by which HTTPS is verified; empty: the system's.
        """
        self._timeout = aiohttp.ClientTimeout(total=request_s, sock_connect=connect_s)
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close what is kept alive."""
        if self._session is not None:
            await self._session.close()

    async def ask(self, nsqlookupds: Collection[tuple[str, int]], topic: str) -> list[str]:
        """
        Return the names of all channels, sorted, without ephemeral and invalid ones.

        ``nsqlookupds`` are hosts with their HTTP ports. What fails is logged and left out.
        """
        answers = await asyncio.gather(*(self._ask(*each, topic) for each in nsqlookupds))
        names = {name for answer in answers for name in answer}
        return sorted(name for name in names if is_valid_name(name) and not is_ephemeral(name))

    async def _ask(self, host: str, port: int, topic: str) -> list[str]:
        path = f"/channels?topic={quote_url(topic, safe='')}"
        url = f"http://{format_host_port(host, port)}{path}"
        try:
            status, reason, body = await self._get(url)
            if status == 403 and (https_port := _https_port(body)) is not None:
                url = f"https://{format_host_port(host, https_port)}{path}"
                status, reason, body = await self._get(url)
            if status != 200:
                raise _Refused(f"got response {status} {reason} {quote(body[:1000])}")
            return msgspec.json.decode(body, type=_Channels).channels
        except (_Refused, aiohttp.ClientError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__  # TimeoutError, an OSError, has no text
            _log.error("asking %s for the channels of %s failed - %s", url, topic, reason)
            return []

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # Most never need it, and reading the system's certificates takes a while.
        return ssl.create_default_context(cafile=self._ca_file or None)

    async def _get(self, url: str) -> tuple[int, str, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=_HEADERS)
        tls = self._tls if url.startswith("https:") else True
        async with self._session.get(url, ssl=tls) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    raise _Refused(f"the answer exceeds {ANSWER_BYTES_MAX} bytes")
            return response.status, response.reason or "", bytes(body)


def _https_port(body: bytes) -> int | None:
    try:
        return msgspec.json.decode(body, type=_TlsRequired).https_port
    except msgspec.MsgspecError:
        return None
