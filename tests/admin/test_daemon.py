"""The dashboard as a whole, asked over HTTP, with fake daemons behind it."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import yarl

from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from nsqx.admin.shown.pages import PAGE_PATHS
from tests.support import fork_server
from tests.support.fake_http import FakeHttp, fake_http
from tests.support.processes import free_port

PRODUCER = {
    "remote_address": "127.0.0.1:5000",
    "hostname": "host",
    "broadcast_address": "127.0.0.1",
    "tcp_port": 4150,
    "http_port": 1,
    "version": "1.3.0",
    "topics": ["t"],
    "tombstones": [False],
}


@pytest.fixture
async def lookupd() -> AsyncIterator[FakeHttp]:
    answers = {"/topics": {"topics": ["t"]}, "/nodes": {"producers": [PRODUCER]}}
    async with fake_http(answers) as fake:
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def admin_over(*lookupds: str, **options: Any) -> Admin:
    addresses = list(lookupds)
    return Admin(
        AdminOptions(http_address="127.0.0.1:0", lookupd_http_address=addresses, **options)
    )


async def test_ping(lookupd: FakeHttp, session: aiohttp.ClientSession) -> None:
    async with (
        admin_over(lookupd.address) as admin,
        session.get(f"http://{admin.http_address}/ping") as response,
    ):
        assert (response.status, await response.text()) == (200, "OK")
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_topics(lookupd: FakeHttp, session: aiohttp.ClientSession) -> None:
    async with (
        admin_over(lookupd.address) as admin,
        session.get(f"http://{admin.http_address}/api/topics") as response,
    ):
        assert await response.read() == b'{"topics":["t"],"message":""}'


async def test_no_topics_are_null(session: aiohttp.ClientSession) -> None:
    async with (
        fake_http({"/topics": {"topics": []}}) as empty,
        admin_over(empty.address) as admin,
        session.get(f"http://{admin.http_address}/api/topics") as response,
    ):
        assert await response.read() == b'{"topics":null,"message":""}'


async def test_inactive_topics(session: aiohttp.ClientSession) -> None:
    answers = {
        "/topics": {"topics": ["bare", "t"]},
        "/lookup": {"producers": []},
        "/channels?topic=t": {"channels": ["c"]},
        "/channels?topic=bare": {"channels": []},
    }
    async with (
        fake_http(answers) as lookupd,
        admin_over(lookupd.address) as admin,
        session.get(f"http://{admin.http_address}/api/topics?inactive=true") as response,
    ):
        assert await response.read() == b'{"topics":{"bare":null,"t":["c"]},"message":""}'


async def test_nodes(lookupd: FakeHttp, session: aiohttp.ClientSession) -> None:
    async with (
        admin_over(lookupd.address) as admin,
        session.get(f"http://{admin.http_address}/api/nodes") as response,
    ):
        assert await response.json() == {
            "nodes": [
                {
                    "remote_addresses": [f"{lookupd.address}/127.0.0.1:5000"],
                    "remote_address": "127.0.0.1:5000",
                    "hostname": "host",
                    "broadcast_address": "127.0.0.1",
                    "tcp_port": 4150,
                    "http_port": 1,
                    "version": "1.3.0",
                    "topics": [{"topic": "t", "tombstoned": False}],
                    "out_of_date": False,
                }
            ],
            "message": "",
        }


async def test_a_bad_escape_in_the_query_is_refused(
    lookupd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with admin_over(lookupd.address) as admin:
        url = yarl.URL(f"http://{admin.http_address}/api/topics?inactive=%zz", encoded=True)
        async with session.get(url) as response:
            assert response.status == 400
            assert await response.json() == {"message": 'invalid URL escape "%zz"'}


async def test_with_all_lookupds_dead_the_api_answers_502(session: aiohttp.ClientSession) -> None:
    dead = f"127.0.0.1:{free_port()}"
    async with (
        admin_over(dead) as admin,
        session.get(f"http://{admin.http_address}/api/nodes") as response,
    ):
        assert response.status == 502
        message = (await response.json())["message"]
    assert message.startswith("UPSTREAM_ERROR: failed to query any nsqlookupd: Get ")


async def test_every_page_is_sent_with_the_policy(
    lookupd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with admin_over(lookupd.address) as admin:
        for pattern in PAGE_PATHS:
            path = pattern.format(topic="t", channel="c", tab="x", node="n:1")
            url = f"http://{admin.http_address}{path}"
            async with session.get(url) as response:
                assert response.status == 200, url
                assert response.headers["Content-Type"] == "text/html"
                assert "unsafe" not in response.headers["Content-Security-Policy"]
                assert (await response.text()).lower().startswith("<!doctype html>")


async def test_everything_is_under_the_base_path(
    lookupd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with admin_over(lookupd.address, base_path="nsq/") as admin:
        statuses = {}
        for path in ("/nsq", "/nsq/", "/nsq/api/topics", "/", "/api/topics"):
            url = f"http://{admin.http_address}{path}"
            async with session.get(url, allow_redirects=False) as response:
                statuses[path] = response.status
    assert statuses == {
        "/nsq": 200,
        "/nsq/": 301,
        "/nsq/api/topics": 200,
        "/": 404,
        "/api/topics": 404,
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--nsqd-http-address or --lookupd-http-address required"),
        (
            ["--nsqd-http-address=127.0.0.1:1", "--lookupd-http-address=127.0.0.1:1"],
            "use --nsqd-http-address or --lookupd-http-address not both",
        ),
        (
            ["--nsqd-http-address=127.0.0.1:1", "--http-client-tls-cert=x"],
            "--http-client-tls-key must be specified with --http-client-tls-cert",
        ),
        (
            ["--nsqd-http-address=127.0.0.1:1", "--http-client-tls-key=x"],
            "--http-client-tls-cert must be specified with --http-client-tls-key",
        ),
        (
            ["--lookupd-http-address=nowhere"],
            "failed to resolve --lookupd-http-address (nowhere) - address nowhere: missing port",
        ),
        *(
            (["--nsqd-http-address=127.0.0.1:1", flag], message)
            for flag, message in (
                ("--allowed-origin=nsq.example", "--allowed-origin (nsq.example) is no URL"),
                ("--allowed-origin=https://a/b", "--allowed-origin (https://a/b) has more than"),
                ("--notification-http-endpoint=x:1", "--notification-http-endpoint (x:1) is no"),
                ("--graphite-url=http://g:x", "--graphite-url (http://g:x) is no URL - Port"),
                ("--proxy-graphite", "--proxy-graphite needs --graphite-url"),
                ("--history-path=/nosuch/h.sqlite", "the folder of --history-path (/nosuch) does"),
                ("--dev-static-dir=/nosuch", "--dev-static-dir (/nosuch) is no folder"),
                ("--statsd-interval=0s", "--statsd-interval must be positive"),
                ("--allowed-host=a/b", "--allowed-host (a/b) is no host name"),
            )
        ),
        (
            ["--nsqd-http-address=127.0.0.1:1", "--allow-config-from-cidr=x"],
            "failed to parse --allow-config-from-cidr (x) - ",
        ),
    ],
)
def test_a_start_that_cannot_work_gives_one_line_and_exit_code_1(
    flags: list[str], message: str
) -> None:
    done = fork_server.run("nsqx.admin", *flags)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f" FATAL: failed to instantiate nsqadmin - {message}" in line
