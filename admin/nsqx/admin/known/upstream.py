"""
Asks lookupds and nsqds over HTTP, all at once, each within its deadline.

A daemon that does not answer costs its own answer, never those of the others. Failures come back as
the texts that nsqadmin shows (nsqadmin section 2).
"""

import asyncio
import errno
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import aiohttp
import msgspec
import yarl

from nsqx.admin.options import AdminOptions
from nsqx.protocol.errors import NsqError, quote
from nsqx.runtime.http.server import ROUTINE_HEADER

__all__ = ["Answers", "HangingError", "Kept", "StatusError", "Upstream", "UpstreamError"]

NANOSECONDS = 1_000_000_000
ANSWER_BYTES_MAX = 64 << 20  # /stats of some ten thousand channels
HEADERS = {"Accept": "application/vnd.nsq; version=1.0", ROUTINE_HEADER: "poll"}

AnswerType = TypeVar("AnswerType")


class UpstreamError(NsqError):
    """One daemon gave no answer, or not the one asked for. The text names the request."""


class HangingError(UpstreamError):
    """It did not answer in time."""


class StatusError(UpstreamError):
    """It answered, with a status that means no."""

    def __init__(self, status: int, text: str, body: bytes = b"") -> None:
        super().__init__(text)
        self.status = status
        self.code = _code(body)  # of {"message":"CODE"}; empty if there is none


@dataclass(slots=True)
class Answers(Generic[AnswerType]):
    """What the daemons asked have answered, by address, in the order asked; and what went wrong."""

    by_address: dict[str, AnswerType]
    errors: dict[str, UpstreamError]


@dataclass(frozen=True, slots=True)
class Kept(Generic[AnswerType]):
    """An answer and the bytes that it was made from."""

    body: bytes
    answer: AnswerType


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
        self._asking: dict[str, set[asyncio.Timeout]] = {}  # questions without an answer
        self.hanging: Callable[[str], bool] = _nobody  # set by who knows

    async def __aenter__(self) -> Self:
        # Without a limit: what hangs must not keep others waiting for a connection.
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(
            timeout=self._timeout, headers=HEADERS, connector=connector
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask_all(
        self, addresses: Iterable[str], path: str, answer: type[AnswerType]
    ) -> Answers[AnswerType]:
        """
        GET ``path`` from every ``host:port``, all at once.

        Those known to hang are not asked: that is their answer, as it would be in a while.
        """
        asked = list(dict.fromkeys(addresses))
        results = await asyncio.gather(
            *(self._ask_unless_hanging(address, path, answer) for address in asked),
            return_exceptions=True,
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

    async def _ask_unless_hanging(
        self, address: str, path: str, answer: type[AnswerType]
    ) -> AnswerType:
        if self.hanging(address):
            raise HangingError(f'Get "http://{address}{path}": no answer in time')
        return await self.ask(address, path, answer)

    async def ask(
        self, address: str, path: str, answer: type[AnswerType], seconds_max: float | None = None
    ) -> AnswerType:
        """
        GET ``path`` from one daemon and decode the JSON.

        Raises:
            UpstreamError: no answer in time, or another one.
        """
        return _decoded(await self.get(address, path, seconds_max), address, path, answer)

    async def ask_again(
        self, address: str, path: str, answer: type[AnswerType], before: Kept[AnswerType] | None
    ) -> Kept[AnswerType]:
        """
        GET ``path`` from one daemon that is asked over and over; ``before`` is what this gave last.

        The same bytes give the same object: who has done something with it need not do it again.

        Raises:
            UpstreamError: no answer in time, or another one.
        """
        body = await self.get(address, path)
        if before is not None and body == before.body:
            return before
        return Kept(body, _decoded(body, address, path, answer))

    async def get(self, address: str, path: str, seconds_max: float | None = None) -> bytes:
        """
        GET ``path`` from one daemon.

        Raises:
            StatusError: another status than 200.
            UpstreamError: no answer in ``seconds_max`` (default: as the options say).
        """
        asking, patience = self._asking.setdefault(address, set()), asyncio.timeout(None)
        asking.add(patience)
        try:
            async with patience:
                return await self._request("GET", address, path, b"", seconds_max)
        except TimeoutError as exc:  # by ``give_up``
            raise HangingError(f'Get "http://{address}{path}": no answer in time') from exc
        finally:
            asking.discard(patience)

    def give_up(self, address: str) -> None:
        """
        Wait no longer for what one daemon has been asked, since it does not answer others either.

        Changes are waited for: whether they took effect is worth to be known.
        """
        now = asyncio.get_running_loop().time()
        for patience in self._asking.pop(address, ()):
            patience.reschedule(now)

    async def post(
        self, address: str, path: str, body: bytes = b"", seconds_max: float | None = None
    ) -> bytes:
        """POST to one daemon; otherwise as ``get``."""
        return await self._request("POST", address, path, body, seconds_max)

    async def _request(
        self, method: str, address: str, path: str, body: bytes, seconds_max: float | None
    ) -> bytes:
        """Send it, and once more by HTTPS if the daemon says that it wants that."""
        try:
            async with asyncio.timeout(seconds_max):
                url = f"http://{address}{path}"
                status, reason, answer = await self._send(method, url, body)
                if status == 403 and (port := _https_port(answer)) is not None:
                    url = f"https://{address.rpartition(':')[0]}:{port}{path}"
                    status, reason, answer = await self._send(method, url, body)
        except TimeoutError as exc:
            name = method.capitalize()
            raise HangingError(f'{name} "http://{address}{path}": no answer in time') from exc
        if status != 200:
            text = f"got response {status} {reason} {quote(answer)}"
            raise StatusError(status, text, answer)
        return answer

    async def _send(self, method: str, url: str, body: bytes) -> tuple[int, str, bytes]:
        # The URL is taken as it is: escapes such as %23 have a meaning.
        target = yarl.URL(url, encoded=True)
        try:
            async with self._session.request(
                method, target, data=body or None, ssl=self._tls
            ) as response:
                return response.status, response.reason or "", await _read(response)
        except TimeoutError as exc:
            name = method.capitalize()
            raise HangingError(f'{name} "{url}": no answer in time') from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise UpstreamError(f'{method.capitalize()} "{url}": {_reason(exc)}') from exc

    async def fetch(self, url: str) -> tuple[int, str, bytes]:
        """
        GET any URL, such as Graphite's: the status, the content type and the body.

        Raises:
            UpstreamError: no answer in time.
        """
        try:
            async with self._session.get(yarl.URL(url, encoded=True)) as response:
                content_type = response.headers.get("Content-Type", "")
                return response.status, content_type, await _read(response)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as exc:
            raise UpstreamError(f'Get "{url}": {_reason(exc)}') from exc

    async def notify(self, url: str, body: bytes) -> None:
        """
        POST JSON to any URL.

        Raises:
            UpstreamError: no answer in time, or not a good one.
        """
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(url, data=body, headers=headers) as response:
                await _read(response)
                status = response.status
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as exc:
            raise UpstreamError(f'Post "{url}": {_reason(exc)}') from exc
        if not 200 <= status < 300:
            raise StatusError(status, f'Post "{url}": status {status}')


def _decoded(body: bytes, address: str, path: str, answer: type[AnswerType]) -> AnswerType:
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.DecodeError as exc:
        raise UpstreamError(f'Get "http://{address}{path}": {exc}') from exc


def _nobody(_address: str) -> bool:
    return False


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


class _Message(msgspec.Struct):
    message: str = ""


def _code(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Message).message
    except msgspec.DecodeError:
        return ""


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
