"""
NSQ's HTTP rules on aiohttp's low-level server (nsqd-http section 1), shared by all daemons.

    router = Router()
    router.add("GET", "/ping", ping)                 async def ping(request: Request) -> Answer
    router.add("PUT", "/config/{opt}", put_config)   request.parameters["opt"]

    server = HttpServer(router, unlogged={"/pub", "/mpub"})
    await server.start(bind(parse_address("127.0.0.1:0"), "--http-address"), ssl_context=None)
    server.address, server.port                      the real ones
    await server.stop(grace_s=5)

A handler reads ``request.query()`` and ``await request.body(limit, "MSG_TOO_BIG")`` and returns one
of the answers below, or any aiohttp response (a WebSocket, a stream). It refuses by raising
``ApiError(400, "INVALID_TOPIC")``. What else it raises is logged and answered 500 INTERNAL_ERROR.

    json_answer({"topics": []})    JSON with the X-NSQ header; so are all errors
    text("OK")                     text with the X-NSQ header; the empty text is an empty answer
    plain_text("OK")               text without it: /ping and /debug
    empty()                        no body, no Content-Type

aiohttp's Application is not used: its router, its 404 and 405, its path normalisation and its
``Expect`` handling are not NSQ's. The server below it gives keep-alive, pipelining, HTTP/1.0,
chunked bodies and WebSockets, and nothing we would have to take away again.
"""

import asyncio
import html
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Collection
from ssl import SSLContext
from typing import Any

from aiohttp import web

from nsqx.net.acceptor import Acceptor
from nsqx.net.addresses import host_text, remove_socket_file, serve, socket_text
from nsqx.net.reading_turn import ReadingTurn
from nsqx.net.tls_transport import over_tls
from nsqx.protocol.errors import NsqxError
from nsqx.runtime.durations import format_duration
from nsqx.runtime.http import go_json
from nsqx.runtime.http.connection import HttpConnection, HttpLimits, QuietServer
from nsqx.runtime.http.crowd import Crowd
from nsqx.runtime.http.queries import BadQueryError, parse_query
from nsqx.runtime.http.routes import Match, NotAllowed, Redirect, Router
from nsqx.runtime.http.turns import Turns
from nsqx.runtime.process.logs import Logger, get_logger

__all__ = [
    "ENDED_S",
    "ROUTINE_HEADER",
    "Answer",
    "ApiError",
    "Handler",
    "HttpServer",
    "Request",
    "Router",
    "empty",
    "json_answer",
    "plain_text",
    "refuse_pages",
    "text",
]

# Set by what polls: its requests are logged at the level debug while they succeed.
ROUTINE_HEADER = "X-NSQX-Routine"
JSON_TYPE = "application/json; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"
NSQ_HEADERS = {"X-NSQ-Content-Type": "nsq; version=1.0"}

# Supervisors ask these without TLS, and learn nothing but whether the process lives.
PROBED_PATHS = frozenset({"/livez", "/readyz"})

# aiohttp counts lines, and bytes of each; here all of a head is counted (`HttpLimits`).
HEAD_LINES_MAX = 100_000

# An answer to a client that has ended its direction, where it may just as well be gone.
ENDED_S = 5.0

# NSQ has no idle timeout: producers keep connections for days. aiohttp wants a number.
KEEPALIVE_TIMEOUT_S = 365 * 86400.0

# How long the rest of a refused body is read and thrown away. Closing at once would reset the
# connection and take the answer with it.
LINGER_S = 2.0

# Asked each few seconds for ever, as what sets the header above.
ROUTINE_PATHS = frozenset({"/metrics", "/ping"})

# What is answered so leaves a body behind that nobody reads.
_LAST = frozenset({408, 501})

Answer = web.StreamResponse
Handler = Callable[["Request"], Awaitable[Answer]]


class ApiError(NsqxError):
    """Answered as a status and ``{"message":"<code>"}``."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code


# --- answers ---


def json_answer(value: Any, status: int = 200) -> web.Response:
    """Answer with Go-style JSON; see ``go_json``."""
    return _answer(go_json.encode(value), JSON_TYPE, status)


def text(body: str, status: int = 200) -> web.Response:
    """Answer with text; an empty text has no Content-Type (nsqd-http section 7)."""
    return _answer(body.encode(), TEXT_TYPE, status) if body else empty(status)


def plain_text(body: str, status: int = 200) -> web.Response:
    """Answer with text without the X-NSQ header, as /ping and /debug do."""
    return web.Response(body=body.encode(), status=status, headers={"Content-Type": TEXT_TYPE})


def empty(status: int = 200) -> web.Response:
    """Answer without a body, as the endpoints that change something do."""
    return web.Response(status=status, headers=NSQ_HEADERS)


def _answer(body: bytes, content_type: str, status: int) -> web.Response:
    return web.Response(
        body=body, status=status, headers={"Content-Type": content_type, **NSQ_HEADERS}
    )


class BodyOverdueError(ApiError):
    """Answered like an `ApiError`, and the connection ends: the rest is not waited for."""

    def __init__(self) -> None:
        super().__init__(408, "REQUEST_TIMEOUT")


def _error(error: ApiError) -> web.Response:
    return json_answer({"message": error.code}, error.status)


def _redirect(method: str, location: str) -> web.Response:
    """301 with a page for GET, 307 with nothing for what must be sent again as it was."""
    if method != "GET":
        return web.Response(status=307, headers={"Location": location})
    page = f'<a href="{html.escape(location)}">Moved Permanently</a>.\n\n'
    headers = {"Location": location, "Content-Type": HTML_TYPE}
    return web.Response(body=page.encode(), status=301, headers=headers)


# --- request ---


class Request:
    """One request, read by NSQ's rules. ``http`` is aiohttp's, for WebSockets and streams."""

    __slots__ = (
        "_is_continued",
        "_query",
        "body_idle_s",
        "http",
        "method",
        "parameters",
        "path",
        "raw_query",
    )

    def __init__(self, http: web.BaseRequest, body_idle_s: float = HttpLimits.BODY_IDLE_S) -> None:
        self.http = http
        self.body_idle_s = body_idle_s
        self.method = http.method
        self.path, self.raw_query = _split_target(http.raw_path)
        self.parameters: dict[str, str] = {}  # of the route's path, decoded
        self._query: dict[str, str] | None = None
        self._is_continued = False

    @property
    def remote(self) -> str:
        """The peer's ``ip:port``; ``@`` on a Unix socket."""
        return socket_text(self.http.get_extra_info("peername"))

    @property
    def ip(self) -> str:
        """The peer's IP address; empty on a Unix socket. Behind a proxy, the proxy's."""
        name = self.http.get_extra_info("peername")
        return host_text(str(name[0])) if isinstance(name, tuple) else ""

    @property
    def is_tls(self) -> bool:
        return self.http.get_extra_info("sslcontext") is not None

    def header(self, name: str) -> str:
        """Return the first value of a header, or ``""``."""
        return self.http.headers.get(name, "")

    def query(self) -> dict[str, str]:
        """
        Return the first value of each parameter of the query string.

        Raises:
            ApiError: 400 INVALID_REQUEST.
        """
        if self._query is None:
            try:
                self._query = parse_query(self.raw_query)
            except BadQueryError as exc:
                raise ApiError(400, "INVALID_REQUEST") from exc
        return self._query

    async def body(self, bytes_max: int, code: str) -> bytes:
        """
        Return the body.

        Raises:
            ApiError: 413 and ``code`` if it is longer than ``bytes_max``. A Content-Length over it
                is refused before a byte is read; a chunked body when the limit is passed.
            BodyOverdueError: no more of it came for too long.
        """
        length = self.http.content_length
        if length is not None and length > bytes_max:
            raise ApiError(413, code)
        self._ask_to_continue()
        chunks: list[bytes] = []
        room = bytes_max
        content = self.http.content
        try:
            while not content.at_eof():
                async with asyncio.timeout(None if content.is_eof() else self.body_idle_s):
                    chunk = await content.readany()
                room -= len(chunk)
                if room < 0:
                    raise ApiError(413, code)
                chunks.append(chunk)
        except web.RequestPayloadError as exc:  # chunks that are none
            raise ApiError(400, "INVALID_REQUEST") from exc
        except TimeoutError as exc:
            raise BodyOverdueError from exc
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @property
    def is_waiting_to_continue(self) -> bool:
        """Whether the client holds its body back until it is asked for it."""
        return not self._is_continued and self.header("Expect").lower() == "100-continue"

    def _ask_to_continue(self) -> None:
        if self.is_waiting_to_continue and self.http.version >= (1, 1):
            self._is_continued = True
            if self.http.transport is not None:
                self.http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _split_target(target: str) -> tuple[str, str]:
    """Return path and query of a request target, which proxies may send with scheme and host."""
    if not target.startswith("/") and "://" in target:
        _, _, rest = target.partition("://")
        target = rest[rest.index("/") :] if "/" in rest else "/"
    path, _, query = target.partition("?")
    return path, query


def refuse_pages(request: Request) -> None:
    """
    Refuse what a page in a browser has sent, of whatever site: a form, a script, an image.

    Raises:
        ApiError: 403 CROSS_SITE.
    """
    # With every POST comes Origin. What is typed into a browser's address bar is of no site.
    if request.header("Origin") or request.header("Sec-Fetch-Site") not in ("", "none"):
        raise ApiError(403, "CROSS_SITE")


_ASKING = frozenset({"GET", "HEAD", "OPTIONS"})


# --- server ---


class HttpServer:
    """
    One listener, plain or TLS, Unix or TCP. Several may share a router.

    Args:
        router: what is served.
        unlogged: paths without a line in the log per request.
        tls_required_port: every request but probes is refused with 403 and told this HTTPS port.
        on_answer: called with each answer before it is sent, such as to compress it.
        refuses_pages: what a page in a browser sends is refused, unless it only asks (GET): this
            server has no pages, so it is one of another site.
        ends_with_client: a handler is cancelled when its client is gone. For those that wait.
        limits: what a connection may take.
    """

    def __init__(
        self,
        router: Router[Handler],
        *,
        unlogged: Collection[str] = (),
        tls_required_port: int | None = None,
        on_answer: Callable[[Request, Answer], None] | None = None,
        refuses_pages: bool = False,
        log: Logger | None = None,
        ends_with_client: bool = False,
        limits: HttpLimits | None = None,
    ) -> None:
        self._router = router
        self._unlogged = frozenset(unlogged)
        self._tls_required_port = tls_required_port
        self._on_answer = on_answer
        self._refuses_pages = refuses_pages
        self._log = log or get_logger()
        self._ends_with_client = ends_with_client
        self._limits = limits or HttpLimits(ended_s=ENDED_S if ends_with_client else None)
        self._turns = Turns()
        self._server: QuietServer | None = None
        self._acceptor: Acceptor | None = None
        self._listener: socket.socket | None = None
        self.address = ""  # real, such as 127.0.0.1:4151 or a path; empty before start
        self.port = 0  # real; 0 on a Unix socket

    async def start(self, listener: socket.socket, ssl_context: SSLContext | None = None) -> None:
        """Serve a listening socket, such as ``addresses.bind`` gives, until ``stop``."""
        name = listener.getsockname()
        self.address = socket_text(name)
        self.port = int(name[1]) if isinstance(name, tuple) else 0
        self._listener = listener
        self._server = QuietServer(
            self._handle,
            access_log=None,
            auto_decompress=False,
            handler_cancellation=self._ends_with_client,
            keepalive_timeout=KEEPALIVE_TIMEOUT_S,
            lingering_time=LINGER_S,
            logger=_quiet_logger(self._log),
            max_field_size=self._limits.head_bytes,
            max_headers=HEAD_LINES_MAX,
            max_line_size=self._limits.head_bytes,
        )
        self._server.limits = self._limits
        self._server.crowd = Crowd(self._limits.connections)
        self._server.reading_turn = ReadingTurn()
        factory = self._server if ssl_context is None else over_tls(self._server, ssl_context)
        self._acceptor = serve(factory, listener)

    def make_connection(self) -> asyncio.BaseProtocol:
        """Return what serves a connection that came to another listener, while it is started."""
        assert self._server is not None
        return self._server()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Stop accepting, let running requests end for ``grace_s``, and close. May be repeated."""
        if self._server is None:
            return
        server, self._server = self._server, None
        if self._listener is not None:
            remove_socket_file(self._listener)
        if self._acceptor is not None:
            await self._acceptor.close()
        server.pre_shutdown()
        await server.shutdown(grace_s)

    async def _handle(self, http: web.BaseRequest) -> Answer:
        started_ns = time.monotonic_ns()  # to wait for a turn is a part of how long it took
        await self._turns.enter()
        request = Request(http, self._limits.body_idle_s)
        answer = await self._answer(request)
        if not answer.prepared:
            if request.is_waiting_to_continue or answer.status in _LAST:
                # Its body was not wanted and never comes, or comes as if it were a request.
                answer.force_close()
            if isinstance(http.protocol, HttpConnection) and http.protocol.has_ended:
                answer.force_close()
            answer.headers.setdefault("Server", "nsqx")
            if self._on_answer is not None:
                self._on_answer(request, answer)
        if request.path not in self._unlogged:
            self._log_request(request, answer.status, time.monotonic_ns() - started_ns)
        return answer

    async def _answer(self, request: Request) -> Answer:
        if self._tls_required_port is not None and request.path not in PROBED_PATHS:
            return self._refuse_plain(self._tls_required_port)
        if request.header("Transfer-Encoding").lower() not in ("", "chunked"):
            return plain_text("Unsupported transfer encoding", 501)
        try:
            if self._refuses_pages and request.method not in _ASKING:
                refuse_pages(request)
            return await self._route(request)
        except ApiError as error:
            return _error(error)
        except web.HTTPException:
            raise
        except ConnectionError:
            # The client is gone: nobody reads the answer and there is nothing to report.
            return empty(400)
        except Exception as exc:
            self._log.error("%s %s failed: %r", request.method, request.path, exc, exc_info=exc)
            return _error(ApiError(500, "INTERNAL_ERROR"))

    async def _route(self, request: Request) -> Answer:
        found = self._router.find(request.method, request.path)
        match found:
            case Match():
                request.parameters = found.parameters
                return await found.handler(request)
            case Redirect():
                query = f"?{request.raw_query}" if request.raw_query else ""
                return _redirect(request.method, found.path + query)
            case NotAllowed():
                return _not_allowed(request.method, found.allow)
            case None:
                raise ApiError(404, "NOT_FOUND")

    @staticmethod
    def _refuse_plain(https_port: int) -> web.Response:
        # The blanks are NSQ's: this one body is not made by its JSON encoder.
        body = f'{{"message": "TLS_REQUIRED", "https_port": {https_port}}}'
        return _answer(body.encode(), JSON_TYPE, 403)

    def _log_request(self, request: Request, status: int, took_ns: int) -> None:
        # A dashboard asks each second: what goes well there is nothing to read about.
        is_polled = request.path in ROUTINE_PATHS or request.header(ROUTINE_HEADER)
        is_routine = (status, request.method) == (200, "GET") and is_polled
        log = self._log.debug if is_routine else self._log.info
        log(
            "%d %s %s (%s) %s",
            status,
            request.method,
            request.http.raw_path,
            request.remote,
            format_duration(took_ns),
        )


def _not_allowed(method: str, allow: str) -> web.Response:
    if method == "OPTIONS":
        return web.Response(headers={"Allow": allow})
    answer = _error(ApiError(405, "METHOD_NOT_ALLOWED"))
    answer.headers["Allow"] = allow
    return answer


class _AiohttpHandler(logging.Handler):
    """Passes what aiohttp says about broken requests to our log; a peer's nonsense is no error."""

    def __init__(self, log: Logger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.debug("%s: %s", record.getMessage(), record.exc_info and record.exc_info[1])


def _quiet_logger(log: Logger) -> logging.Logger:
    logger = logging.Logger("nsqx.http")
    logger.addHandler(_AiohttpHandler(log))
    return logger
