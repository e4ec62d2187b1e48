"""The HTTP API beyond what the golden transcripts ask: limits, metrics, kept answers."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from nsqx.lookupd.answers import Answers
from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.http_api import PIECE_BYTES
from nsqx.lookupd.options import LookupdOptions
from nsqx.protocol.errors import StartupError
from nsqx.protocol.lookup import PeerInfo
from tests.support.certificates import Authority

ANY_PORT = "127.0.0.1:0"
NODE = PeerInfo(broadcast_address="10.1.1.1", http_port=4151, tcp_port=4150, version="1.3.0")


class Api:
    """A directory in this process, and how to ask it."""

    def __init__(self, lookupd: Lookupd, http: aiohttp.ClientSession) -> None:
        self.lookupd = lookupd
        self._http = http

    async def ask(self, method: str, path: str) -> tuple[int, str]:
        url = f"http://{self.lookupd.http_address}{path}"
        async with self._http.request(method, url) as response:
            return response.status, await response.text()

    async def get(self, path: str) -> str:
        status, body = await self.ask("GET", path)
        assert status == 200, body
        return body


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    options = LookupdOptions(tcp_address=ANY_PORT, http_address=ANY_PORT, max_entries=3)
    async with Lookupd(options) as lookupd, aiohttp.ClientSession() as http:
        yield Api(lookupd, http)


async def test_probes_are_answered(api: Api) -> None:
    for path in ("/livez", "/readyz"):
        assert await api.ask("GET", path) == (200, "OK")


async def test_full_registry_refuses_topics_and_channels(api: Api) -> None:
    for path in ("/topic/create?topic=a", "/channel/create?topic=b&channel=c"):
        assert await api.ask("POST", path) == (200, "")
    refused = (503, '{"message":"TOO_MANY_ENTRIES"}')
    assert await api.ask("POST", "/topic/create?topic=d") == refused
    assert await api.ask("POST", "/channel/create?topic=a&channel=c") == refused
    assert json.loads(await api.get("/topics")) == {"topics": ["a", "b"]}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/topic/create?topic=", (400, '{"message":"INVALID_ARG_TOPIC"}')),
        ("/topic/create", (400, '{"message":"MISSING_ARG_TOPIC"}')),
        ("/channel/create?topic=t&channel=", (400, '{"message":"INVALID_ARG_CHANNEL"}')),
        ("/topic/delete?topic=", (200, "")),
        ("/topic/tombstone?topic=t&node=", (200, "")),
    ],
)
async def test_a_name_that_is_there_and_empty_is_not_missing(
    api: Api, path: str, answer: tuple[int, str]
) -> None:
    assert await api.ask("POST", path) == answer


async def test_metrics_count_what_there_is_and_what_was_asked(api: Api) -> None:
    registry, now_ns = api.lookupd.registry, api.lookupd.clock()
    producer = registry.add_producer("127.0.0.1:1", NODE, now_ns)
    registry.add_producer("127.0.0.1:2", NODE, now_ns - registry.inactive_timeout_ns - 1)
    registry.register(producer, "t", "c")
    registry.tombstone("t", producer.node, now_ns)
    await api.get("/lookup?topic=t")
    assert (await api.ask("GET", "/lookup?topic=nosuch"))[0] == 404
    lines = (await api.get("/metrics")).splitlines()
    changing = ("#", "nsqlookupd_info", "process_", "log_", "tasks_")
    assert {line for line in lines if not line.startswith(changing)} == {
        "nsqlookupd_topics 1",
        "nsqlookupd_channels 1",
        "nsqlookupd_registrations 2",
        'nsqlookupd_producers{state="active"} 1',
        'nsqlookupd_producers{state="inactive"} 1',
        "nsqlookupd_tombstones 1",
        'nsqlookupd_lookups_total{result="found"} 1',
        'nsqlookupd_lookups_total{result="not_found"} 1',
        "nsqlookupd_watches 0",
    }


@pytest.mark.parametrize(
    "path",
    ["", "/cmdline", "/symbol", "/profile", "/heap", "/goroutine", "/block", "/threadcreate"],
)
async def test_profiling_paths_are_there(api: Api, path: str) -> None:
    await api.get("/debug/pprof" + path)


async def test_a_long_debug_answer_comes_in_pieces_and_sorted() -> None:
    options = LookupdOptions(tcp_address=ANY_PORT, http_address=ANY_PORT)
    async with Lookupd(options) as lookupd, aiohttp.ClientSession() as http:
        registry = lookupd.registry
        producer = registry.add_producer("10.1.1.1:1", NODE, lookupd.clock())
        for number in range(500):
            for channel in ("a", "a-b"):
                registry.register(producer, f"t{number}", channel)
                registry.register(producer, f"t{number}-more", channel)
        expected = set(json.loads(b"".join(Answers(registry).debug())))
        pieces: list[bytes] = []
        async with http.get(f"http://{lookupd.http_address}/debug") as response:
            assert response.headers["Transfer-Encoding"] == "chunked"
            assert response.headers["X-NSQ-Content-Type"] == "nsq; version=1.0"
            async for piece in response.content.iter_any():
                if not pieces:
                    registry.delete_topic("t7")  # others go on meanwhile
                pieces.append(piece)
    keys = list(json.loads(b"".join(pieces)))
    assert keys == sorted(keys)
    assert expected - set(keys) <= {"channel:t7:a", "channel:t7:a-b", "topic:t7:"}
    assert set(keys) <= expected
    assert sum(map(len, pieces)) > 2 * PIECE_BYTES


@pytest.mark.parametrize("query", ["topic=%zz", "topic=a;b", "topic=t&x=%"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/channels"),
        ("GET", "/lookup"),
        ("POST", "/topic/create"),
        ("POST", "/topic/delete"),
        ("POST", "/topic/tombstone"),
        ("POST", "/channel/create"),
        ("POST", "/channel/delete"),
    ],
)
async def test_bad_query_is_an_invalid_request_everywhere(
    api: Api, method: str, path: str, query: str
) -> None:
    url = URL(f"http://{api.lookupd.http_address}{path}?{query}", encoded=True)
    async with aiohttp.request(method, url) as response:
        assert (response.status, await response.text()) == (400, '{"message":"INVALID_REQUEST"}')


async def test_ports_are_known_and_free_again_after_the_end() -> None:
    options = LookupdOptions(tcp_address=ANY_PORT, http_address=ANY_PORT)
    async with Lookupd(options) as lookupd:
        assert lookupd.tcp_address == f"127.0.0.1:{lookupd.tcp_port}"
        tcp_address, http_address = lookupd.tcp_address, lookupd.http_address
    again = LookupdOptions(tcp_address=tcp_address, http_address=http_address)
    async with Lookupd(again) as lookupd:
        assert lookupd.http_address == http_address
    await lookupd.stop()


async def test_pages_in_browsers_change_nothing(api: Api) -> None:
    async with aiohttp.ClientSession(headers={"Origin": "http://evil.example"}) as page:
        for path in ("topic/create", "topic/delete", "topic/tombstone", "channel/create"):
            url = f"http://{api.lookupd.http_address}/{path}?topic=t&channel=c&node=a:1"
            async with page.post(url) as answer:
                assert (answer.status, await answer.json()) == (403, {"message": "CROSS_SITE"})


async def test_https_is_served_and_its_certificate_replaced(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, name="old"), Authority(tmp_path, name="new")
    identity = old.server()
    options = LookupdOptions(
        tcp_address=ANY_PORT,
        http_address=ANY_PORT,
        https_address=ANY_PORT,
        tls_cert=str(identity.certificate),
        tls_key=str(identity.key),
        tls_client_auth_policy="require-verify",  # of nsqds: who only asks shows nothing
        tls_root_ca_file=str(old.certificate),
    )
    async with Lookupd(options) as lookupd:
        url = f"https://{lookupd.https_address}/topics"
        for authority in (old, new):
            if authority is new:
                replacement = new.server()
                replacement.certificate.replace(identity.certificate)
                replacement.key.replace(identity.key)
                lookupd.reload()
            async with (
                aiohttp.ClientSession() as http,
                http.get(url, ssl=authority.client_context()) as answer,
            ):
                assert await answer.json() == {"topics": []}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tls_client_auth_policy": "require"}, "needs --tls-cert"),
        ({"https_address": ANY_PORT}, "needs --tls-cert"),
        ({"tls_client_auth_policy": "requre"}, "is require or require-verify, not requre"),
        ({"tls_cert": "a"}, "--tls-cert and --tls-key must be given together"),
    ],
)
async def test_what_would_not_be_what_was_asked_for_ends_the_start(
    options: dict[str, str], reason: str
) -> None:
    known: dict[str, Any] = {"tcp_address": ANY_PORT, "http_address": ANY_PORT, **options}
    with pytest.raises(StartupError, match=reason):
        await Lookupd(LookupdOptions(**known)).start()
