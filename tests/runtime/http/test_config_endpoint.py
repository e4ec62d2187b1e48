import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from nsqx.net.addresses import listen_on
from nsqx.runtime.http.config_endpoint import ConfigEndpoint, parse_addresses
from nsqx.runtime.http.server import Handler, HttpServer, Router
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import DURATION, TLS_REQUIRED, TlsRequired, flag
from nsqx.runtime.process import logs


@dataclass
class SmallOptions(flags.DaemonOptions):
    node_id: int = flag(7, config_key="id", help="id")
    msg_timeout: int = flag("1m", kind=DURATION, help="timeout")
    broadcast_tcp_port: int = flag(0, help="port")
    zone: str = flag("", help="zone")
    address: str = flag("127.0.0.1:4150", help="address")
    deflate: bool = flag(True, help="deflate")
    tls_required: TlsRequired = flag("tcp-https", kind=TLS_REQUIRED, help="tls")
    lookupd_tcp_address: list[str] = flag(
        [], config_key="nsqlookupd_tcp_addresses", help="addresses"
    )


class Daemon:
    def __init__(self) -> None:
        self.options = SmallOptions()
        self.connected_to: list[object] = []
        self.url = ""

    async def ask(self, method: str, key: str, body: str = "") -> tuple[int, str, str]:
        async with (
            ClientSession() as session,
            session.request(method, f"{self.url}/config/{key}", data=body.encode()) as answer,
        ):
            return answer.status, answer.headers.get("Content-Type", ""), await answer.text()


@pytest_asyncio.fixture
async def daemon() -> AsyncIterator[Daemon]:
    daemon = Daemon()
    logs.setup("nsq", logs.Level.INFO, "", io.StringIO())
    endpoint = ConfigEndpoint(daemon.options, bytes_max=1024)
    endpoint.may_show("broadcast_tcp_port", lambda: 4150)
    endpoint.may_set("nsqlookupd_tcp_addresses", parse_addresses, daemon.connected_to.append)
    router = Router[Handler]()
    endpoint.add_to(router)
    endpoint.add_list_to(router)
    server = HttpServer(router)
    await server.start(listen_on("127.0.0.1:0", "--http-address"))
    daemon.url = f"http://{server.address}"
    yield daemon
    await server.stop()
    logs.setup("nsq", logs.Level.INFO, "")


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("id", "7"),
        ("msg_timeout", "60000000000"),
        ("broadcast_tcp_port", "4150"),
        ("deflate", "true"),
        ("tls_required", "1"),
        ("log_level", "2"),
        ("nsqlookupd_tcp_addresses", "[]"),
    ],
)
async def test_numbers_bools_and_lists_are_json(daemon: Daemon, key: str, body: str) -> None:
    assert await daemon.ask("GET", key) == (200, "application/json; charset=utf-8", body)


async def test_texts_are_bare(daemon: Daemon) -> None:
    assert await daemon.ask("GET", "address") == (
        200,
        "text/plain; charset=utf-8",
        "127.0.0.1:4150",
    )
    status, _, body = await daemon.ask("GET", "zone")
    assert (status, body) == (200, "")


@pytest.mark.parametrize("key", ["nosuch", "node_id", "log-level", "verbose", "config", "version"])
async def test_other_names_are_invalid(daemon: Daemon, key: str) -> None:
    status, _, body = await daemon.ask("GET", key)
    assert (status, body) == (400, '{"message":"INVALID_OPTION"}')


async def test_the_log_level_takes_effect_at_once(daemon: Daemon) -> None:
    assert (await daemon.ask("PUT", "log_level", "WARN"))[2] == "3"
    assert logs.get_level() is logs.Level.WARNING
    assert (await daemon.ask("GET", "log_level"))[2] == "3"


async def test_what_may_be_set_is_applied(daemon: Daemon) -> None:
    for body in ('["a:1","b:2"]', "[]", "null"):
        status, _, answer = await daemon.ask("PUT", "nsqlookupd_tcp_addresses", body)
        assert (status, answer) == (200, body)
    assert daemon.connected_to == [["a:1", "b:2"], [], None]


@pytest.mark.parametrize(
    ("key", "body", "status", "code"),
    [
        ("log_level", "warning", 400, "INVALID_VALUE"),
        ("log_level", "2", 400, "INVALID_VALUE"),
        ("log_level", "", 413, "INVALID_VALUE"),
        ("log_level", "a" * 1025, 413, "INVALID_VALUE"),
        ("nosuch", "", 413, "INVALID_VALUE"),
        ("nosuch", "x", 400, "INVALID_OPTION"),
        ("msg_timeout", "5", 400, "INVALID_OPTION"),
        ("nsqlookupd_tcp_addresses", "not json", 400, "INVALID_VALUE"),
        ("nsqlookupd_tcp_addresses", '{"a":1}', 400, "INVALID_VALUE"),
        ("nsqlookupd_tcp_addresses", "[1]", 400, "INVALID_VALUE"),
    ],
)
async def test_refusals(daemon: Daemon, key: str, body: str, status: int, code: str) -> None:
    assert (await daemon.ask("PUT", key, body))[::2] == (status, f'{{"message":"{code}"}}')


async def test_all_options_are_listed_readable_and_with_their_source(daemon: Daemon) -> None:
    daemon.options.sources = {"msg_timeout": flags.Source.FLAG}
    async with ClientSession() as session, session.get(f"{daemon.url}/options") as answer:
        options = (await answer.json())["options"]
    assert options["msg_timeout"] == {
        "value": "1m0s",
        "kind": "duration",
        "source": "flag",
        "has_effect": True,
    }
    assert options["log_level"]["value"] == "INFO"
    assert options["tls_required"]["value"] == "tcp-https"
    assert options["broadcast_tcp_port"]["value"] == 4150  # as it is, not as it was given
    assert options["nsqlookupd_tcp_addresses"]["value"] == []
    assert options["id"]["source"] == "default"
