"""
Asks lookupds and nsqds over HTTP, all at once, each within its deadline.

A daemon that does not answer costs its own answer, never those of the others. Failures come back as
the texts that nsqadmin shows (nsqadmin section 2).
"""

import asyncio
import errno
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import aiohttp
import msgspec

from nsqx.protocol.errors import NsqError, quote

from .options import AdminOptions

__all__ = ["Answers", "Upstream", "UpstreamError"]

NANOSECONDS = 1_000_000_000
ANSWER_BYTES_MAX = 64 << 20  # /stats of some ten thousand channels
HEADERS = {"Accept": "application/vnd.nsq; version=1.0"}

AnswerType = TypeVar("AnswerType")


class UpstreamError(NsqError):
    """One daemon gave no answer, or not the one asked for. The text names the request."""


@dataclass(slots=True)
class Answers(Generic[AnswerType]):
    """What the daemons asked have answered, by address, in the order asked; and what went wrong."""

    by_address: dict[str, AnswerType]
    errors: dict[str, UpstreamError]


class Upstream:
    """An HTTP client for lookupds and nsqds. Use it as an async context manager."""

    def __init__(self, options: AdminOptions) -> None:
        self._request_seconds_max = options.http_client_request_timeout / NANOSECONDS
        self._timeout = aiohttp.ClientTimeout(
            total=self._request_seconds_max,
            sock_connect=options.http_client_connect_timeout / NANOSECONDS,
        )
        self._tls = _tls_context(options)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers=HEADERS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask_all(
        self, addresses: Iterable[str], path: str, answer: type[AnswerType]
    ) -> Answers[AnswerType]:
        """GET ``path`` from every ``host:port``, all at once."""
        asked = list(dict.fromkeys(addresses))
        results = await asyncio.gather(
            *(self.ask(address, path, answer) for address in asked), return_exceptions=True
        )
        answers: Answers[AnswerType] = Answers({}, {})
        for address, result in zip(asked, results, strict=True):
            if isinstance(result, UpstreamError):
                answers.errors[address] = result
            elif isinstance(result, BaseException):
                raise result
            else:
                answers.by_address[address] = result
        return answers

    async def ask(self, address: str, path: str, answer: type[AnswerType]) -> AnswerType:
        """
        GET ``path`` from one daemon; once more by HTTPS if it says that it wants that.

        Raises:
            UpstreamError: no answer in time, or another one.
        """
        url = f"http://{address}{path}"
        status, reason, body = await self._get(url)
        if status == 403 and (port := _https_port(body)) is not None:
            url = f"https://{address.rpartition(':')[0]}:{port}{path}"
            status, reason, body = await self._get(url)
        if status != 200:
            raise UpstreamError(f"got response {status} {reason} {quote(body)}")
        try:
            return msgspec.json.decode(body, type=answer)
        except msgspec.DecodeError as exc:
            raise UpstreamError(f'Get "{url}": {exc}') from exc

    async def _get(self, url: str) -> tuple[int, str, bytes]:
        try:
            async with self._session.get(url, ssl=self._tls) as response:
                body = await _read(response)
                return response.status, response.reason or "", body
        except TimeoutError as exc:
            raise UpstreamError(f'Get "{url}": no answer in time') from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise UpstreamError(f'Get "{url}": {_reason(exc)}') from exc


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise ValueError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)


class _TlsRequired(msgspec.Struct):
    https_port: int


def _https_port(body: bytes) -> int | None:
    try:
        return msgspec.json.decode(body, type=_TlsRequired).https_port
    except msgspec.DecodeError:
        return None


def _reason(error: Exception) -> str:
    """The reason in the words that NSQ's users know (Go's), where there are such."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error) or type(error).__name__
    target = f"dial tcp {error.host}:{error.port}"
    if error.os_error.errno == errno.ECONNREFUSED:
        return f"{target}: connect: connection refused"
    return f"{target}: {error.os_error.strerror or error.os_error}"


def _tls_context(options: AdminOptions) -> ssl.SSLContext:
    """
    Return how HTTPS nsqds are verified.

    Raises:
        OSError: a file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context(cafile=options.http_client_tls_root_ca_file or None)
    if options.http_client_tls_insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.http_client_tls_cert:
        context.load_cert_chain(options.http_client_tls_cert, options.http_client_tls_key)
    return context
