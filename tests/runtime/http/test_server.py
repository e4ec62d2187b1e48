"""
NSQ's HTTP rules on a real listener, driven with raw sockets: heads and bodies to the byte.

Both event loops serve the same test server; recorded answers of NSQ's nsqd are the judge where
its transcripts are about routing (``tests/golden/nsqd_http.json``).
"""

import asyncio
import io
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
from aiohttp import ClientSession, UnixConnector, WSMsgType, web

from nsqx.net.addresses import listen_on
from nsqx.net.tls import server_context
from nsqx.runtime.http.connection import HttpLimits
from nsqx.runtime.http.server import (
    Answer,
    ApiError,
    Handler,
    HttpServer,
    Request,
    Router,
    empty,
    json_answer,
    plain_text,
    text,
)
from nsqx.runtime.process import logs
from tests.support.certificates import Authority

GOLDEN = Path(__file__).parents[2] / "golden" / "nsqd_http.json"
BODY_BYTES_MAX = 1024
X_NSQ = ("X-NSQ-Content-Type", "nsq; version=1.0")
JSON_TYPE = ("Content-Type", "application/json; charset=utf-8")
TEXT_TYPE = ("Content-Type", "text/plain; charset=utf-8")


@dataclass
class Received:
    status: int = 0
    version: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    @property
    def stable_headers(self) -> set[tuple[str, str]]:
        return {(name, value) for name, value in self.headers if name not in ("Date", "Server")}


async def read_answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    version, status, _ = head[0].split(" ", 2)
    answer = Received(int(status), version)
    for line in head[1:-2]:
        name, _, value = line.partition(": ")
        answer.headers.append((name, value))
    if has_body:
        answer.body = await reader.readexactly(int(answer.header("Content-Length") or 0))
    return answer


def is_there(path: str) -> bool:
    return Path(path).exists()


class Api:
    """A few endpoints in the style of nsqd's."""

    def __init__(self) -> None:
        self.router = Router[Handler]()
        self.body_started = asyncio.Event()
        self.may_end = asyncio.Event()
        for method, path, handler in (
            ("GET", "/ping", self.ping),
            ("POST", "/pub", self.publish),
            ("POST", "/mpub", self.publish),
            ("POST", "/topic/create", self.create),
            ("GET", "/config/{opt}", self.config),
            ("PUT", "/config/{opt}", self.config),
            ("GET", "/stats", self.stats),
            ("GET", "/info", self.stats),
            ("GET", "/debug/pprof/", self.ping),
            ("POST", "/debug/freememory", self.fail),
            ("GET", "/slow", self.slow),
            ("GET", "/socket", self.socket),
            ("GET", "/empty", self.nothing),
        ):
            self.router.add(method, path, handler)

    async def ping(self, _request: Request) -> Answer:
        return plain_text("OK")

    async def publish(self, request: Request) -> Answer:
        if "topic" not in request.query():
            raise ApiError(400, "MISSING_ARG_TOPIC")
        self.body_started.set()
        body = await request.body(BODY_BYTES_MAX, "MSG_TOO_BIG")
        return text(f"OK {len(body)}")

    async def create(self, request: Request) -> Answer:
        request.query()
        return empty()

    async def config(self, request: Request) -> Answer:
        return json_answer({"opt": request.parameters["opt"], "share": 1.0, "html": "<&>"})

    async def stats(self, request: Request) -> Answer:
        return json_answer(
            {"query": request.query(), "tls": request.is_tls, "peer": request.remote}
        )

    async def fail(self, _request: Request) -> Answer:
        raise KeyError("a mistake of ours")

    async def slow(self, _request: Request) -> Answer:
        self.body_started.set()
        await self.may_end.wait()
        return text("at last")

    async def nothing(self, _request: Request) -> Answer:
        return text("")

    async def socket(self, request: Request) -> Answer:
        socket = web.WebSocketResponse()
        await socket.prepare(request.http)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    output = io.StringIO()
    logs.setup("nsq", logs.Level.INFO, "", output)
    yield output
    logs.setup("nsq", logs.Level.INFO, "")


@pytest_asyncio.fixture
async def api() -> Api:
    return Api()


@pytest_asyncio.fixture
async def server(api: Api, log: io.StringIO) -> AsyncIterator[HttpServer]:
    server = HttpServer(api.router, unlogged={"/pub", "/mpub"})
    await server.start(listen_on("127.0.0.1:0", "--http-address"))
    yield server
    await server.stop(grace_s=0.1)


Ask = Callable[..., Awaitable[Received]]


class Connection:
    """One connection to the server, on which requests are written by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def send(self, raw: bytes) -> None:
        self._writer.write(raw)

    def end(self) -> None:
        self._writer.write_eof()

    async def answer(self, *, has_body: bool = True) -> Received:
        async with asyncio.timeout(10):
            return await read_answer(self.reader, has_body=has_body)

    async def closes(self) -> bool:
        async with asyncio.timeout(10):
            return await self.reader.read() == b""

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@pytest_asyncio.fixture
async def connection(server: HttpServer) -> AsyncIterator[Connection]:
    connection = Connection(*await asyncio.open_connection("127.0.0.1", server.port))
    yield connection
    await connection.close()


@asynccontextmanager
async def limited(api: Api, limits: HttpLimits) -> AsyncIterator[Connection]:
    """Run a server with limits of its own, and connect to it."""
    server = HttpServer(api.router, limits=limits)
    await server.start(listen_on("127.0.0.1:0", "--http-address"))
    try:
        connection = Connection(*await asyncio.open_connection("127.0.0.1", server.port))
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await server.stop(grace_s=0.1)


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: nsqd", *headers, "", ""]).encode()


async def ask(connection: Connection, line: str, *headers: str, body: bytes = b"") -> Received:
    if body:
        headers = (*headers, f"Content-Length: {len(body)}")
    connection.send(head(line, *headers) + body)
    return await connection.answer(has_body=not line.startswith("HEAD"))


# --- answers ---


async def test_plain_text_has_no_nsq_header(connection: Connection) -> None:
    answer = await ask(connection, "GET /ping")
    assert answer.body == b"OK"
    assert answer.stable_headers == {TEXT_TYPE, ("Content-Length", "2")}


async def test_text_has_the_nsq_header(connection: Connection) -> None:
    answer = await ask(connection, "POST /pub?topic=t", body=b"hello")
    assert answer.body == b"OK 5"
    assert answer.stable_headers == {TEXT_TYPE, X_NSQ, ("Content-Length", "4")}


@pytest.mark.parametrize("line", ["POST /topic/create", "GET /empty"])
async def test_an_empty_answer_has_no_content_type(connection: Connection, line: str) -> None:
    answer = await ask(connection, line)
    assert answer.status == 200
    assert answer.stable_headers == {X_NSQ, ("Content-Length", "0")}


async def test_json_is_compact_and_escaped(connection: Connection) -> None:
    answer = await ask(connection, "GET /config/log%5Flevel")
    assert answer.body == rb'{"opt":"log_level","share":1,"html":"\u003c\u0026\u003e"}'
    assert answer.stable_headers == {JSON_TYPE, X_NSQ, ("Content-Length", str(len(answer.body)))}


async def test_our_mistakes_are_500_and_logged_with_their_traceback(
    connection: Connection, log: io.StringIO
) -> None:
    answer = await ask(connection, "POST /debug/freememory")
    assert (answer.status, answer.body) == (500, b'{"message":"INTERNAL_ERROR"}')
    assert "ERROR: POST /debug/freememory failed: KeyError('a mistake of ours')" in log.getvalue()
    assert "Traceback" in log.getvalue()


# --- recorded answers about routing ---

ROUTING = (
    "not_found",
    "wrong_method",
    "options_",
    "head_",
    "redirect_",
    "bad_query",
    "debug_pprof_no",
)


def _recorded() -> list[Any]:
    ours = ("/topic/create", "/ping", "/pub", "/stats", "/config/", "/nosuch", "/debug/pprof", "/")
    cases = []
    for case in json.loads(GOLDEN.read_text())["cases"]:
        if not case["name"].startswith(ROUTING):
            continue
        for event in case["events"]:
            path = event["http"]["path"].lower().replace("//", "/")
            if path == "/" or path.startswith(ours[:-1]):
                cases.append(pytest.param(event["http"], event["response"], id=case["name"]))
    assert len(cases) >= 15
    return cases


@pytest.mark.parametrize(("request_", "response"), _recorded())
async def test_recorded_routing(
    connection: Connection, request_: dict[str, Any], response: dict[str, Any]
) -> None:
    body = request_.get("body", "").encode()
    answer = await ask(connection, f"{request_['method']} {request_['path']}", body=body)
    assert answer.status == response["status"]
    assert answer.body.decode() == response.get("body", answer.body.decode())
    recorded = {(name.lower(), value) for name, value in response["headers"].items()}
    received = {(name.lower(), value) for name, value in answer.stable_headers}
    if request_["method"] == "HEAD":
        received = {each for each in received if each[0] != "content-length"}
    assert received == recorded


# --- requests ---


async def test_the_query_of_a_redirect_is_kept_and_shown_as_html(connection: Connection) -> None:
    answer = await ask(connection, "GET /Ping/?a=1&b=%3c")
    assert answer.header("Location") == "/ping?a=1&b=%3c"
    assert answer.body == b'<a href="/ping?a=1&amp;b=%3c">Moved Permanently</a>.\n\n'


async def test_a_redirect_never_leads_to_another_host(connection: Connection) -> None:
    assert (await ask(connection, "GET //evil.example/ping/")).status == 404
    assert (await ask(connection, "GET //ping")).header("Location") == "/ping"


async def test_a_target_may_hold_scheme_and_host(connection: Connection) -> None:
    assert (await ask(connection, "GET http://nsqd:4151/ping")).body == b"OK"


async def test_a_form_body_holds_no_parameters(connection: Connection) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    answer = await ask(connection, "POST /pub", form, body=b"topic=t")
    assert answer.body == b'{"message":"MISSING_ARG_TOPIC"}'


async def test_endpoints_without_parameters_do_not_look_at_the_query(
    connection: Connection,
) -> None:
    assert (await ask(connection, "GET /ping?a=%zz;")).body == b"OK"


async def test_the_remote_is_told(connection: Connection) -> None:
    answer = await ask(connection, "GET /stats?topic=a&topic=b")
    stats = json.loads(answer.body)
    assert stats["query"] == {"topic": "a"}
    assert stats["peer"].startswith("127.0.0.1:")
    assert stats["tls"] is False


# --- bodies ---


@pytest.mark.parametrize("size", [0, 1, BODY_BYTES_MAX])
async def test_bodies_up_to_the_limit_are_taken(connection: Connection, size: int) -> None:
    answer = await ask(connection, "POST /pub?topic=t", body=b"a" * size)
    assert answer.body == b"OK %d" % size


async def test_a_content_length_over_the_limit_is_refused_unread(connection: Connection) -> None:
    connection.send(head("POST /pub?topic=t", f"Content-Length: {BODY_BYTES_MAX + 1}"))
    answer = await connection.answer()
    assert (answer.status, answer.body) == (413, b'{"message":"MSG_TOO_BIG"}')


async def test_the_connection_goes_on_after_a_refused_body(connection: Connection) -> None:
    refused = await ask(connection, "POST /pub?topic=t", body=b"a" * (BODY_BYTES_MAX + 1))
    assert refused.status == 413
    assert (await ask(connection, "GET /ping")).body == b"OK"


async def test_the_rest_of_a_refused_body_is_no_head(connection: Connection) -> None:
    """It is let pass; as a head it would be too long, and answered a second time."""
    size = 3 << 19
    connection.send(head("POST /pub?topic=t", f"Content-Length: {size}"))
    assert (await connection.answer()).status == 413
    connection.send(b"a" * size)
    assert (await ask(connection, "GET /ping")).body == b"OK"


async def test_chunked_bodies_are_taken(connection: Connection) -> None:
    connection.send(head("POST /pub?topic=t", "Transfer-Encoding: chunked"))
    connection.send(b"5\r\nhello\r\n3\r\n!!!\r\n0\r\n\r\n")
    assert (await connection.answer()).body == b"OK 8"


async def test_chunked_bodies_are_counted(connection: Connection) -> None:
    connection.send(head("POST /pub?topic=t", "Transfer-Encoding: chunked"))
    connection.send(b"400\r\n" + b"a" * 0x400 + b"\r\n1\r\nb\r\n0\r\n\r\n")
    answer = await connection.answer()
    assert (answer.status, answer.body) == (413, b'{"message":"MSG_TOO_BIG"}')


async def test_chunks_that_are_none_are_refused(connection: Connection) -> None:
    connection.send(head("POST /pub?topic=t", "Transfer-Encoding: chunked") + b"zz\r\n")
    assert (await connection.answer()).status == 400
    assert await connection.closes()


async def test_compressed_bodies_are_not_touched(connection: Connection) -> None:
    answer = await ask(connection, "POST /pub?topic=t", "Content-Encoding: gzip", body=b"not gzip")
    assert answer.body == b"OK 8"


async def test_a_client_that_asks_first_is_told_to_continue(connection: Connection) -> None:
    connection.send(head("POST /pub?topic=t", "Content-Length: 5", "Expect: 100-continue"))
    assert (await connection.answer()).status == 100
    connection.send(b"hello")
    assert (await connection.answer()).body == b"OK 5"
    assert (await ask(connection, "GET /ping")).body == b"OK"


@pytest.mark.parametrize("line", ["POST /pub?topic=t", "POST /pub", "POST /nosuch"])
async def test_a_client_that_asks_first_is_refused_at_once(
    connection: Connection, line: str
) -> None:
    connection.send(head(line, "Content-Length: 5000", "Expect: 100-continue"))
    answer = await connection.answer()
    assert answer.status in (400, 404, 413)
    # What follows might be the body after all: the connection cannot be used again.
    assert answer.header("Connection") == "close"


async def test_a_client_that_goes_away_is_no_error(
    api: Api, server: HttpServer, log: io.StringIO
) -> None:
    connection = Connection(*await asyncio.open_connection("127.0.0.1", server.port))
    connection.send(head("POST /pub?topic=t", "Content-Length: 100") + b"half")
    await api.body_started.wait()
    await connection.close()
    await server.stop()
    assert "ERROR" not in log.getvalue()


# --- connections ---


async def test_requests_may_be_pipelined(connection: Connection) -> None:
    line = head("POST /pub?topic=t", "Content-Length: 1")
    connection.send(line + b"a" + head("GET /ping") + line + b"b")
    assert [(await connection.answer()).body for _ in range(3)] == [b"OK 1", b"OK", b"OK 1"]


async def test_http_1_0_is_answered_and_closed(connection: Connection) -> None:
    connection.send(b"GET /ping HTTP/1.0\r\n\r\n")
    answer = await connection.answer()
    assert (answer.version, answer.body) == ("HTTP/1.0", b"OK")
    assert await connection.closes()


async def test_http_1_0_may_keep_the_connection(connection: Connection) -> None:
    for _ in range(2):
        connection.send(b"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await connection.answer()
        assert answer.header("Connection") == "keep-alive"


async def test_what_is_no_http_is_refused_without_a_traceback(
    connection: Connection, log: io.StringIO
) -> None:
    connection.send(b"  V2garbage\r\n\r\n")
    assert (await connection.answer()).status == 400
    assert await connection.closes()
    assert log.getvalue() == ""


async def test_long_queries_are_taken(connection: Connection) -> None:
    assert (await ask(connection, f"GET /stats?topic={'a' * 60000}")).status == 200


async def test_websockets(server: HttpServer) -> None:
    async with (
        ClientSession() as session,
        session.ws_connect(f"http://{server.address}/socket") as ws,
    ):
        await ws.send_str("hello")
        message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.TEXT, "HELLO")


async def test_unix_sockets(api: Api, tmp_path: Path, log: io.StringIO) -> None:
    path = str(tmp_path / "nsqd.sock")
    server = HttpServer(api.router)
    await server.start(listen_on(path, "--http-address"))
    assert (server.address, server.port) == (path, 0)
    async with (
        ClientSession(connector=UnixConnector(path)) as session,
        session.get("http://nsqd/stats") as answer,
    ):
        assert (await answer.json())["peer"] == "@"
    await server.stop()
    assert not is_there(path)
    assert " INFO: 200 GET /stats (@) " in log.getvalue()


# --- TLS ---


async def test_https(api: Api, log: io.StringIO) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    server = HttpServer(api.router)
    await server.start(listen_on("127.0.0.1:0", "--https-address"), context)
    connection = Connection(*await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting))
    assert json.loads((await ask(connection, "GET /stats")).body)["tls"] is True
    await connection.close()
    await server.stop()


@pytest.mark.parametrize("line", ["GET /ping", "POST /pub?topic=x", "GET /nosuch", "OPTIONS /ping"])
async def test_plain_requests_are_refused_when_tls_is_required(
    api: Api, log: io.StringIO, line: str
) -> None:
    server = HttpServer(api.router, tls_required_port=4152)
    await server.start(listen_on("127.0.0.1:0", "--http-address"))
    connection = Connection(*await asyncio.open_connection("127.0.0.1", server.port))
    answer = await ask(connection, line)
    assert answer.status == 403
    assert answer.body == b'{"message": "TLS_REQUIRED", "https_port": 4152}'
    assert answer.stable_headers == {JSON_TYPE, X_NSQ, ("Content-Length", "47")}
    await connection.close()
    await server.stop()


async def test_probes_need_no_tls(log: io.StringIO) -> None:
    router = Router[Handler]()

    async def live(_request: Request) -> Answer:
        return plain_text("OK")

    router.add("GET", "/livez", live)
    server = HttpServer(router, tls_required_port=4152)
    await server.start(listen_on("127.0.0.1:0", "--http-address"))
    connection = Connection(*await asyncio.open_connection("127.0.0.1", server.port))
    assert (await ask(connection, "GET /livez")).body == b"OK"
    assert (await ask(connection, "GET /ping")).status == 403
    await connection.close()
    await server.stop()


# --- log, hooks, stopping ---


async def test_each_request_is_a_line_except_publishing(
    connection: Connection, log: io.StringIO
) -> None:
    await ask(connection, "POST /pub?topic=t", body=b"a")
    await ask(connection, "GET /config/x?a=b")
    (line,) = log.getvalue().splitlines()
    assert " INFO: 200 GET /config/x?a=b (127.0.0.1:" in line
    assert line.endswith(("ms", "s"))


async def test_what_a_dashboard_polls_is_no_line_while_it_goes_well(
    connection: Connection, log: io.StringIO
) -> None:
    await ask(connection, "GET /config/x", "X-NSQX-Routine: poll")
    await ask(connection, "GET /nosuch", "X-NSQX-Routine: poll")
    (line,) = log.getvalue().splitlines()
    assert " INFO: 404 GET /nosuch " in line


async def test_answers_may_be_changed_before_they_are_sent(api: Api, log: io.StringIO) -> None:
    def add_vary(_request: Request, answer: Answer) -> None:
        answer.headers["Vary"] = "Accept-Encoding"

    server = HttpServer(api.router, on_answer=add_vary)
    await server.start(listen_on("127.0.0.1:0", "--http-address"))
    connection = Connection(*await asyncio.open_connection("127.0.0.1", server.port))
    assert (await ask(connection, "GET /nosuch")).header("Vary") == "Accept-Encoding"
    await connection.close()
    await server.stop()


async def test_stopping_lets_a_request_end_and_closes_idle_connections(
    api: Api, server: HttpServer, connection: Connection
) -> None:
    idle = Connection(*await asyncio.open_connection("127.0.0.1", server.port))
    assert (await ask(idle, "GET /ping")).status == 200
    connection.send(head("GET /slow"))
    await api.body_started.wait()
    stopping = asyncio.create_task(server.stop(grace_s=10))
    assert await idle.closes()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)
    assert not stopping.done()
    api.may_end.set()
    assert (await connection.answer()).body == b"at last"
    await stopping
    await idle.close()
    await server.stop()


# Clients that end their direction, or never end a request


@pytest.mark.parametrize("says_so", [True, False], ids=["close_notify", "FIN alone"])
async def test_a_client_of_https_that_ends_its_direction_is_answered_and_then_closed(
    api: Api, log: io.StringIO, tmp_path: Path, says_so: bool
) -> None:
    authority = Authority(tmp_path)
    identity = authority.server()
    context = server_context(str(identity.certificate), str(identity.key))
    server = HttpServer(api.router)
    await server.start(listen_on("127.0.0.1:0", "--https-address"), context)

    def ask_and_end() -> bytes:
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        with authority.client_context().wrap_socket(raw) as client:
            client.sendall(head("GET /slow"))
            if says_so:
                client.setblocking(False)
                with suppress(ssl.SSLWantReadError):
                    client.unwrap()  # it would wait until the server says so, too
                client.setblocking(True)
            raw_end = socket.socket(fileno=os.dup(client.fileno()))
            with raw_end:
                raw_end.shutdown(socket.SHUT_WR)
                loop.call_soon_threadsafe(api.may_end.set)
                received = b""
                with suppress(ssl.SSLZeroReturnError):  # the server's own end
                    while piece := client.recv(65536):
                        received += piece
                return received

    loop = asyncio.get_running_loop()
    answer = await asyncio.to_thread(ask_and_end)
    assert answer.startswith(b"HTTP/1.1 200 OK"), answer
    assert answer.endswith(b"at last")
    await server.stop()


async def test_a_client_that_ends_its_direction_is_answered_and_then_closed(
    connection: Connection,
) -> None:
    connection.send(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    connection.end()
    answers = [await connection.answer() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert await connection.closes()


async def test_half_a_body_and_then_the_end_is_no_request(
    connection: Connection, log: io.StringIO
) -> None:
    connection.send(b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    connection.end()
    assert await connection.closes()


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /ping HTTP/1.1\r\nHo"],
    ids=["nothing", "half a head"],
)
async def test_a_head_that_never_ends_has_its_time(
    api: Api, log: io.StringIO, begun: bytes
) -> None:
    async with limited(api, HttpLimits(head_s=0.05)) as connection:
        connection.send(begun)
        assert await connection.closes()


async def test_a_second_head_that_never_ends_has_its_time(api: Api, log: io.StringIO) -> None:
    async with limited(api, HttpLimits(head_s=0.05)) as connection:
        connection.send(head("GET /ping"))
        assert (await connection.answer()).status == 200
        connection.send(b"GET /pi")
        assert await connection.closes()


async def test_a_connection_between_requests_has_no_deadline(api: Api, log: io.StringIO) -> None:
    async with limited(api, HttpLimits(head_s=0.05)) as connection:
        connection.send(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await connection.answer()).status == 200
        async with limited(api, HttpLimits(head_s=0.1)) as later:
            assert await later.closes()  # so much time has passed
        connection.send(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await connection.answer()).status == 200


async def test_a_body_that_never_comes_has_its_time(api: Api, log: io.StringIO) -> None:
    async with limited(api, HttpLimits(body_idle_s=0.05)) as connection:
        connection.send(b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        answer = await connection.answer()
        assert (answer.status, answer.body) == (408, b'{"message":"REQUEST_TIMEOUT"}')
        assert await connection.closes()


@pytest.mark.parametrize("head_bytes", [70_000, 1_000_000])
async def test_large_heads_are_taken(connection: Connection, head_bytes: int) -> None:
    connection.send(b"GET /ping HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * head_bytes))
    assert (await connection.answer()).status == 200


async def test_a_head_of_many_lines_is_limited_in_all(api: Api, log: io.StringIO) -> None:
    async with limited(api, HttpLimits(head_bytes=10_000)) as connection:
        connection.send(b"GET /ping HTTP/1.1\r\n" + b"X: %b\r\n" % (b"x" * 1000) * 12)
        assert (await connection.reader.read()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("encoding", ["gzip, chunked", "gzip,chunked"])
async def test_what_a_body_is_packed_in_is_not_stored(
    connection: Connection, encoding: str
) -> None:
    head = f"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {encoding}\r\n\r\n"
    connection.send(head.encode() + b"3\r\nabc\r\n0\r\n\r\n")
    answer = await connection.answer()
    assert (answer.status, answer.body) == (501, b"Unsupported transfer encoding")
    assert await connection.closes()


async def test_no_more_connections_than_allowed(api: Api, log: io.StringIO) -> None:
    async with limited(api, HttpLimits(connections=0)) as connection:
        assert await connection.closes()
