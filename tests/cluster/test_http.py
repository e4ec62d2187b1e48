"""The one client for daemons, over real sockets: limits, HTTPS, redirects, what it says."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nsqx.cluster.answers import NodesAnswer, TopicsAnswer
from nsqx.cluster.http import DaemonError, DaemonHttp, HangingError, StatusError
from nsqx.cluster.lookups import list_nodes, list_topics, lookup
from nsqx.net.tls import server_context
from tests.support.certificates import Authority
from tests.support.fake_http import FakeHttp, fake_http
from tests.support.processes import free_port
from tests.support.stream_server import stream_server


@pytest.fixture
async def http() -> AsyncIterator[DaemonHttp]:
    async with DaemonHttp(request_s=5.0, answer_bytes_max=1000) as http:
        yield http


def producer(host: str, **fields: Any) -> dict[str, Any]:
    return {"broadcast_address": host, "tcp_port": 4150, "http_port": 4151, **fields}


async def test_an_answer_has_a_largest_size(http: DaemonHttp) -> None:
    async with fake_http({"/topics": {"topics": ["x" * 2000]}}) as fake:
        with pytest.raises(DaemonError, match="longer than 1000 bytes"):
            await http.ask(fake.address, "/topics", TopicsAnswer)


async def test_answers_of_nsq_before_1_0_are_unwrapped(http: DaemonHttp) -> None:
    answer = {"status_code": 200, "status_txt": "OK", "data": {"topics": ["a"]}}
    async with fake_http({"/topics": answer}) as fake:
        assert await list_topics(http, [fake.address]) == {"a"}


async def test_a_daemon_may_be_a_url(http: DaemonHttp) -> None:
    async with fake_http({"/topics": {"topics": ["a"]}}) as fake:
        assert await list_topics(http, [f"http://{fake.address}/lookup?x=1"]) == {"a"}


async def test_failures_say_who_and_why_in_a_few_words(http: DaemonHttp) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(DaemonError) as refused:
        await http.get(address, "/ping")
    assert refused.value.short == f"{address}: connection refused"
    async with fake_http({}) as fake:
        with pytest.raises(StatusError) as missing:
            await http.get(fake.address, "/stats")
    assert (missing.value.status, missing.value.address) == (404, fake.address)


async def test_a_port_that_does_not_speak_http_is_said_to_be_one(http: DaemonHttp) -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x00\x00\x0f\x00\x00\x00\x01E_BAD_PROTO")

    async with stream_server(refuse) as address:
        with pytest.raises(DaemonError) as exc:
            await http.get(address, "/ping")
    assert exc.value.reason == "what answers there does not speak HTTP"


async def test_who_hangs_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "{}:{}".format(*silent.getsockname())
        async with DaemonHttp(request_s=0.1) as http:
            with pytest.raises(HangingError) as exc:
                await http.get(address, "/ping")
    assert exc.value.reason == "no answer in 0.1 s"


async def test_a_redirect_is_no_answer(http: DaemonHttp) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2 if head.startswith(b"POST /hook") else 0)
        writer.write(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://10.0.0.1/\r\n")
        writer.write(b"Connection: close\r\nContent-Length: 0\r\n\r\n")

    async with stream_server(redirect) as address:
        with pytest.raises(StatusError) as exc:
            await http.post(address, "/topic/delete?topic=t")
        assert exc.value.status == 307
        # Nor by those that are no daemons.
        with pytest.raises(DaemonError, match="status 307"):
            await http.notify(f"http://{address}/hook", b"{}")
        assert (await http.fetch(f"http://{address}/render")).status == 307


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:80/x?y=", "a/b", "user@host", "", "169.254.169.254", "METADATA.google.internal."],
)
async def test_a_node_at_a_place_that_is_no_host_is_none(http: DaemonHttp, host: str) -> None:
    answer = {"producers": [producer(host), producer("::1"), producer("good-host_1.example")]}
    async with fake_http({"/nodes": answer, "/lookup": answer}) as fake:
        for nodes in (
            await list_nodes(http, [fake.address]),
            await lookup(http, [fake.address], "t"),
        ):
            assert [each.http_address for each in nodes] == [
                "[::1]:4151",
                "good-host_1.example:4151",
            ]


async def test_a_node_listed_twice_is_one(http: DaemonHttp) -> None:
    answer = {"producers": [producer("10.0.0.1")]}
    async with fake_http({"/nodes": answer}) as one, fake_http({"/nodes": answer}) as two:
        nodes = await list_nodes(http, [one.address, two.address])
    assert [each.tcp_address for each in nodes] == ["10.0.0.1:4150"]


async def test_the_same_bytes_are_the_same_answer(http: DaemonHttp) -> None:
    async with fake_http({"/nodes": {"producers": [producer("10.0.0.1")]}}) as fake:
        first = await http.ask_again(fake.address, "/nodes", NodesAnswer, None)
        assert await http.ask_again(fake.address, "/nodes", NodesAnswer, first) is first


# HTTPS and secrets

DEMANDED = {"/topics": (401, {"message": "UNAUTHORIZED"})}


async def test_a_secret_is_shown_to_who_demands_one_and_to_nobody_else() -> None:
    async with (
        fake_http({"/topics": {"topics": []}}) as other,
        fake_http(DEMANDED) as nsqd,
        DaemonHttp(secret="key") as http,
    ):
        await http.get(other.address, "/topics")
        for _ in range(2):
            with pytest.raises(StatusError, match="UNAUTHORIZED"):
                await http.get(nsqd.address, "/topics")
        assert other.authorizations == [None]
        assert nsqd.authorizations == [None, "Bearer key", "Bearer key"]


async def test_a_secret_is_not_sent_in_clear_where_tls_was_asked_for() -> None:
    async with (
        fake_http({**DEMANDED, "/info": {"https_port": 0}}) as false,
        DaemonHttp(secret="key", is_secret_clear=False) as http,
    ):
        with pytest.raises(DaemonError, match="it serves no HTTPS"):
            await http.get(false.address, "/topics")
        assert false.authorizations == [None, None]


async def test_a_secret_goes_to_no_certificate_of_others(tmp_path: Path) -> None:
    async with (
        https(Authority(tmp_path, name="stranger"), DEMANDED) as theirs,
        fake_http({**DEMANDED, "/info": {"https_port": port_of(theirs)}}) as false,
        DaemonHttp(
            secret="key", is_secret_clear=False, tls=Authority(tmp_path).client_context
        ) as http,
    ):
        with pytest.raises(DaemonError, match="certificate verify failed"):
            await http.get(false.address, "/topics")
        assert (false.authorizations, theirs.requests) == ([None, None], [])


async def test_what_must_be_encrypted_is_sent_nowhere_else(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        https(authority, {"/pub": (401, {})}) as encrypted,
        fake_http({"/info": {"https_port": port_of(encrypted)}}) as plain,
        DaemonHttp(secret="key", is_secret_clear=False, tls=authority.client_context) as http,
    ):
        http.only_https = lambda address: address == plain.address
        for _ in range(2):
            with pytest.raises(StatusError):
                await http.post(plain.address, "/pub", b"body")
        assert plain.requests == ["/info"]
        assert encrypted.authorizations == [None, "Bearer key", "Bearer key"]


async def test_who_demanded_https_once_is_asked_by_it_from_then_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        https(authority, {"/topics": {"topics": []}}) as encrypted,
        DaemonHttp(tls=authority.client_context) as http,
    ):
        demand = (403, {"message": "TLS_REQUIRED", "https_port": port_of(encrypted)})
        async with fake_http({"/topics": demand}) as plain:
            for _ in range(2):
                await http.get(plain.address, "/topics")
        assert (plain.requests, len(encrypted.requests)) == (["/topics"], 2)


def port_of(fake: FakeHttp) -> int:
    return int(fake.address.rpartition(":")[2])


@asynccontextmanager
async def https(authority: Authority, answers: dict[str, Any]) -> AsyncIterator[FakeHttp]:
    identity = authority.server()
    context = server_context(str(identity.certificate), str(identity.key))
    async with fake_http(answers, tls=context) as fake:
        yield fake


async def test_keys_of_urls_are_in_no_error() -> None:
    url = f"http://user:hidden@127.0.0.1:{free_port()}"
    async with DaemonHttp() as http:
        with pytest.raises(DaemonError) as fetched:
            await http.fetch(f"{url}/render?target=a")
        with pytest.raises(DaemonError) as notified:
            await http.notify(f"{url}/hook?key=hidden", b"{}")
    texts = f"{fetched.value} {fetched.value.short} {notified.value} {notified.value.short}"
    assert "hidden" not in texts
    assert "/render?target=a" in texts
