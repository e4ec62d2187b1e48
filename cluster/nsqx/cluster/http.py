"""
Asks nsqlookupds and nsqds over HTTP, all at once, each within its deadline: the one client for it.

A daemon that does not answer costs its own answer, never those of the others. An answer has a
largest size, and redirects are not followed: a node's address comes from whoever registered it.
Failures come with a short reason, and as the text that nsqadmin shows (nsqadmin section 2).

A daemon that wants HTTPS says so (403), is asked again by it, and by it only from then on. Those
that are to be asked by nothing else (``only_https``) are asked for their port first, in clear: the
question has no body and no secret, and a wrong answer leads to a certificate that is not theirs.
A secret is shown to who demands one (401), and in clear only if nothing is to be encrypted.
"""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from urllib.parse import urlsplit

import msgspec

from nsqx.net.host_port import format_host_port, without_secrets
from nsqx.net.late_authorities import read_when_needed
from nsqx.net.tls import client_context
from nsqx.protocol.errors import NsqxError, quote

if TYPE_CHECKING:
    import aiohttp

__all__ = [
    "ANSWER_BYTES_MAX",
    "CONNECT_S",
    "REQUEST_S",
    "TLS_FAILED",
    "Answers",
    "DaemonError",
    "DaemonHttp",
    "HangingError",
    "Kept",
    "Reply",
    "StatusError",
]

CONNECT_S, REQUEST_S = 2.0, 5.0
TLS_FAILED = "TLS failed"  # a reason
ANSWER_BYTES_MAX = 64 << 20  # /stats of some ten thousand channels
KNOWN_MAX = 10_000  # daemons of which something is remembered
ROUTINE_HEADER = "X-NSQX-Routine"  # such requests are no line in a daemon's log
_HEADERS = {"Accept": "application/vnd.nsq; version=1.0"}

AnswerType = TypeVar("AnswerType")


class DaemonError(NsqxError):
    """
    One daemon gave no answer, or not the one asked for. The text names the request.

    Attributes:
        address: ``host:port``.
        reason: what went wrong, in a few words; NSQ's error word if the daemon gave one.
        status: of the answer; 0 if there was none.
    """

    def __init__(self, address: str, reason: str, text: str = "", status: int = 0) -> None:
        super().__init__(text or f"{address}: {reason}")
        self.address = address
        self.reason = reason
        self.status = status

    @property
    def short(self) -> str:
        """For a command's complaint."""
        return f"{self.address}: {self.reason}"


class HangingError(DaemonError):
    """It did not answer in time."""


class StatusError(DaemonError):
    """It answered, with a status that means no. ``code`` is NSQ's error word; may be empty."""

    def __init__(self, address: str, reply: "Reply") -> None:
        self.code = _code(reply.body)
        text = f"got response {reply.status} {reply.reason} {quote(reply.body)}"
        super().__init__(address, self.code or f"status {reply.status}", text, reply.status)


@dataclass(slots=True)
class Answers(Generic[AnswerType]):
    """What the daemons asked have answered, by address, in the order asked; and what went wrong."""

    by_address: dict[str, AnswerType]
    errors: dict[str, DaemonError]


@dataclass(frozen=True, slots=True)
class Kept(Generic[AnswerType]):
    """An answer and the bytes that it was made from."""

    body: bytes
    answer: AnswerType


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status. ``date`` is its header."""

    status: int
    reason: str
    body: bytes
    content_type: str = ""
    date: str = ""
    took_s: float = 0.0


class DaemonHttp:
    """
    The client. Use it as an async context manager, or ``close`` it at the end.

    Args:
        connect_s, request_s: limits for connecting, and for a whole request.
        answer_bytes_max: an answer that is longer is refused.
        tls: makes how HTTPS is verified, once it is needed; by default the system's certificates.
        secret: for nsqds with an auth server.
        is_secret_clear: whether it may be sent without TLS.
        is_routine: whether these requests come all the time, so that nobody wants them logged.
    """

    def __init__(
        self,
        *,
        connect_s: float = CONNECT_S,
        request_s: float = REQUEST_S,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
        tls: Callable[[], ssl.SSLContext] = client_context,
        secret: str = "",
        is_secret_clear: bool = True,
        is_routine: bool = False,
    ) -> None:
        self._connect_s, self._request_s = connect_s, request_s
        self._answer_bytes_max = answer_bytes_max
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._headers = {**_HEADERS, **({ROUTINE_HEADER: "poll"} if is_routine else {})}
        self._session: aiohttp.ClientSession | None = None
        self._asking: dict[str, set[asyncio.Timeout]] = {}  # questions without an answer
        self.hanging: Callable[[str], bool] = _nobody  # set by who knows
        self.only_https: Callable[[str], bool] = _nobody  # the same
        self._secret, self._is_secret_clear = secret, is_secret_clear
        self._https: dict[str, str] = {}  # who is asked by HTTPS: the beginning of its URLs
        self._demanding: set[str] = set()  # a secret, by the beginning of their URLs

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what is kept alive. Who has asked nothing need not."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> "aiohttp.ClientSession":
        with read_when_needed():
            import aiohttp  # here: it takes longer than most commands run

        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._request_s, sock_connect=self._connect_s),
            headers=self._headers,
            # Without a limit: what hangs must not keep others waiting for a connection.
            connector=aiohttp.TCPConnector(limit=0),
        )

    # Many at once

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
            if isinstance(result, DaemonError):
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
            raise _hangs("GET", address, path)
        return await self.ask(address, path, answer)

    # One daemon

    async def ask(
        self, address: str, path: str, answer: type[AnswerType], seconds_max: float | None = None
    ) -> AnswerType:
        """
        GET ``path`` from one daemon and decode the JSON.

        Raises:
            DaemonError: no answer in time, or another one.
        """
        return _decoded(await self.get(address, path, seconds_max), address, path, answer)

    async def ask_again(
        self, address: str, path: str, answer: type[AnswerType], before: Kept[AnswerType] | None
    ) -> Kept[AnswerType]:
        """
        GET ``path`` from one daemon that is asked over and over; ``before`` is what this gave last.

        The same bytes give the same object: who has done something with it need not do it again.

        Raises:
            DaemonError: no answer in time, or another one.
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
            DaemonError: no answer in ``seconds_max`` (default: as the options say).
        """
        asking, patience = self._asking.setdefault(address, set()), asyncio.timeout(None)
        asking.add(patience)
        try:
            async with patience:
                reply = await self.request("GET", address, path, seconds_max=seconds_max)
        except TimeoutError as exc:  # by ``give_up``
            raise _hangs("GET", address, path) from exc
        finally:
            asking.discard(patience)
            if not asking and self._asking.get(address) is asking:
                del self._asking[address]
        return _good(address, reply)

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
        reply = await self.request("POST", address, path, body, seconds_max=seconds_max)
        return _good(address, reply)

    async def request(
        self,
        method: str,
        address: str,
        path: str,
        body: bytes = b"",
        *,
        host: str = "",
        seconds_max: float | None = None,
    ) -> Reply:
        """
        Send a request, and once more if the daemon wants HTTPS or a secret.

        ``host`` is whom the request names, if that is not ``address``.

        Raises:
            DaemonError: there is no answer at all.
        """
        headers = {"Host": host} if host else {}
        try:
            async with asyncio.timeout(seconds_max):
                return await self._request(method, address, path, body, headers)
        except TimeoutError as exc:
            raise _hangs(method, address, path) from exc
        except DaemonError:
            self._https.pop(address, None)  # it may have another port by now, or none
            raise

    async def _request(
        self, method: str, address: str, path: str, body: bytes, headers: dict[str, str]
    ) -> Reply:
        base = self._https.get(address) or _base(address)
        if not base.startswith("https:") and self.only_https(address):
            base = await self._find_https(address)
        shown = {**headers, **self._authorization(base)}
        reply = await self._send(method, address, f"{base}{path}", body, shown)
        if reply.status == 403 and (port := _https_port(reply.body)):
            base = self._learn(address, port)
            shown = {**headers, **self._authorization(base)}
            reply = await self._send(method, address, f"{base}{path}", body, shown)
        if reply.status == 401 and self._secret and "Authorization" not in shown:
            base = await self._base_for_secret(address, base)
            shown = {**headers, **self._authorization(base)}
            reply = await self._send(method, address, f"{base}{path}", body, shown)
        return reply

    def _authorization(self, base: str) -> dict[str, str]:
        if base not in self._demanding:
            return {}
        return {"Authorization": f"Bearer {self._secret}"}

    async def _base_for_secret(self, address: str, base: str) -> str:
        """Return where the secret may be sent."""
        if not base.startswith("https:") and not self._is_secret_clear:
            base = await self._find_https(address)
        if len(self._demanding) >= KNOWN_MAX:
            self._demanding.clear()
        self._demanding.add(base)
        return base

    async def _find_https(self, address: str) -> str:
        """Ask a daemon, in clear, where it serves HTTPS."""
        url = f"{_base(address)}/info"
        port = _https_port((await self._send("GET", address, url, b"", None)).body)
        if not port:
            raise DaemonError(address, "it serves no HTTPS", f'Get "{url}": it serves no HTTPS')
        return self._learn(address, port)

    def _learn(self, address: str, port: int) -> str:
        if len(self._https) >= KNOWN_MAX:
            self._https.clear()
        host = urlsplit(_base(address)).hostname or ""
        self._https[address] = f"https://{format_host_port(host, port)}"
        return self._https[address]

    async def _send(
        self, method: str, address: str, url: str, body: bytes, headers: Mapping[str, str] | None
    ) -> Reply:
        try:
            return await self._exchange(method, url, body, headers)
        except TimeoutError as exc:
            text = f'{method.capitalize()} "{url}": no answer in time'
            raise HangingError(address, f"no answer in {self._request_s:g} s", text) from exc
        except _failures() as exc:
            text = f'{method.capitalize()} "{url}": {_go_text(exc)}'
            raise DaemonError(address, _in_words(exc), text) from exc

    # Others than daemons

    async def fetch(self, url: str) -> Reply:
        """
        GET any URL, such as Graphite's.

        Raises:
            DaemonError: no answer in time.
        """
        try:
            return await self._exchange("GET", url, b"", None)
        except _failures() as exc:
            shown = _without_login(url)
            raise DaemonError(shown, _in_words(exc), f'Get "{shown}": {_go_text(exc)}') from exc

    async def notify(self, url: str, body: bytes) -> None:
        """
        POST JSON to any URL.

        Raises:
            DaemonError: no answer in time, or not a good one.
        """
        headers = {"Content-Type": "application/json"}
        try:
            reply = await self._exchange("POST", url, body, headers)
        except _failures() as exc:
            shown = without_secrets(url)
            raise DaemonError(shown, _in_words(exc), f'Post "{shown}": {_go_text(exc)}') from exc
        if not 200 <= reply.status < 300:
            shown, reason = without_secrets(url), f"status {reply.status}"
            raise DaemonError(shown, reason, f'Post "{shown}": {reason}', reply.status)

    async def _exchange(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str] | None,
    ) -> Reply:
        import yarl

        if self._session is None:
            self._session = self._open()
        began = time.monotonic()
        # The URL is taken as it is: escapes such as %23 have a meaning.
        async with self._session.request(
            method,
            yarl.URL(url, encoded=True),
            data=body or None,
            headers=headers,
            ssl=self._verification(url),
            allow_redirects=False,
        ) as response:
            return Reply(
                response.status,
                response.reason or "",
                await self._read(response),
                response.headers.get("Content-Type", ""),
                response.headers.get("Date", ""),
                time.monotonic() - began,
            )

    def _verification(self, url: str) -> ssl.SSLContext | bool:
        if not url.startswith("https:"):
            return True
        if self._tls is None:  # most never need it, and reading certificates takes a while
            self._tls = self._make_tls()
        return self._tls

    async def _read(self, response: "aiohttp.ClientResponse") -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._answer_bytes_max:
                raise ValueError(f"the answer is longer than {self._answer_bytes_max} bytes")
        return bytes(body)


def _nobody(_address: str) -> bool:
    return False


def _base(address: str) -> str:
    """Return the beginning of a URL; of an address that is one its path does not count."""
    if "://" not in address:
        return f"http://{address}"
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _without_login(url: str) -> str:
    """Return a URL as it is, but for a name and password in it."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _hangs(method: str, address: str, path: str) -> HangingError:
    text = f'{method.capitalize()} "http://{address}{path}": no answer in time'
    return HangingError(address, "no answer in time", text)


def _good(address: str, reply: Reply) -> bytes:
    if reply.status != 200:
        raise StatusError(address, reply)
    return reply.body


class _Wrapped(msgspec.Struct):
    """How NSQ before 1.0 answered."""

    status_code: int
    data: msgspec.Raw


def _decoded(body: bytes, address: str, path: str, answer: type[AnswerType]) -> AnswerType:
    if body.startswith(b'{"status_code"'):
        with suppress(msgspec.DecodeError):  # said below
            body = bytes(msgspec.json.decode(body, type=_Wrapped).data)
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.DecodeError as exc:
        text = f'Get "http://{address}{path}": {exc}'
        raise DaemonError(address, f"not the answer of such a daemon: {exc}", text, 200) from exc


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


def _failures() -> tuple[type[Exception], ...]:
    import aiohttp

    return (aiohttp.ClientError, OSError, ValueError)


def _go_text(error: Exception) -> str:
    """The reason in the words that NSQ's users know (Go's), where there are such."""
    cause: Any = error
    if (os_error := getattr(cause, "os_error", None)) is None:
        return str(error) or type(error).__name__
    target = f"dial tcp {format_host_port(cause.host, cause.port)}"
    if os_error.errno == errno.ECONNREFUSED:
        return f"{target}: connect: connection refused"
    return f"{target}: {os_error.strerror or os_error}"


def _in_words(error: Exception) -> str:
    """The reason in a few words."""
    cause = getattr(error, "os_error", None) or error
    match cause:
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return "no answer in time"
        case socket.gaierror():
            return "unknown host name"
        case ssl.SSLError():
            return TLS_FAILED
        case OSError() if cause.strerror:
            return cause.strerror.lower()
    if "HTTP/" in str(error) or "Bad status line" in str(error):
        return "what answers there does not speak HTTP"
    return str(error) or type(error).__name__
