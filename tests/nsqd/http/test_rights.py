"""What an auth server's permissions mean over HTTP and HTTPS."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nsqx.nsqd.http.rights import RIGHTS, Right
from tests.support.auth_server import AuthServer, running_auth_server
from tests.support.certificates import Authority
from tests.support.node import Node, running_node

GUARDED = [route for route, right in RIGHTS.items() if right is not Right.NONE]
OF_MESSAGES = "topic=t&channel=ch&id=0000000000000000&to=end&from=start"


@asynccontextmanager
async def guarded_node(folder: Path, **options: Any) -> AsyncIterator[tuple[Node, AuthServer]]:
    async with (
        running_auth_server() as auth,
        running_node(folder, auth_http_address=[auth.address], **options) as node,
    ):
        node.broker.get_channel(node.broker.get_topic("t"), "ch")
        yield node, auth


async def ask(node: Node, method: str, target: str, authorization: str = "", **more: Any) -> int:
    """Return the status."""
    headers = {"Authorization": authorization} if authorization else {}
    async with (
        aiohttp.ClientSession() as http,
        http.request(
            method, f"http://{node.nsqd.http_address}{target}", headers=headers, **more
        ) as answer,
    ):
        return answer.status


async def statuses(node: Node, authorization: str) -> dict[tuple[str, str], int]:
    """What is answered to each request that needs a right."""
    answered = {}
    for method, path in GUARDED:
        target = f"{path.replace('{opt}', 'log_level')}?{OF_MESSAGES}"
        answered[method, path] = await ask(node, method, target, authorization)
    return answered


async def test_without_a_secret_nothing_is_changed_published_or_read(tmp_path: Path) -> None:
    async with guarded_node(tmp_path) as (node, auth):
        assert await statuses(node, "") == dict.fromkeys(GUARDED, 401)
        assert auth.requests == []
        assert await statuses(node, "Bearer denied") == dict.fromkeys(GUARDED, 401)
        assert list(node.broker.topics) == ["t"]


async def test_a_secret_for_other_topics_is_none_for_this_one(tmp_path: Path) -> None:
    async with guarded_node(tmp_path) as (node, _):
        assert await statuses(node, "Bearer two") == dict.fromkeys(GUARDED, 403)


async def test_what_needs_no_right_is_answered(tmp_path: Path) -> None:
    open_routes = {route for route, right in RIGHTS.items() if right is Right.NONE}
    async with guarded_node(tmp_path) as (node, auth):
        for method, path in sorted(open_routes):
            target = f"{path.replace('{opt}', 'log_level')}?topic=t&channel=ch"
            assert await ask(node, method, target) in (200, 503), path  # it may not be ready yet
        assert auth.requests == []


@pytest.mark.parametrize(
    ("secret", "target", "status"),
    [
        ("pubonly", "/pub?topic=t", 200),
        ("pubonly", "/mpub?topic=t", 200),
        ("pubonly", "/topic/create?topic=new", 200),
        ("pubonly", "/topic/empty?topic=t", 403),
        ("pubonly", "/topic/settings?topic=t", 403),
        ("pubonly", "/channel/empty?topic=t&channel=ch", 403),
        ("pubonly", "/channel/empty?topic=t", 403),
        ("subonly", "/pub?topic=t", 403),
        ("subonly", "/topic/delete?topic=t", 403),
        ("subonly", "/channel/empty?topic=t&channel=ch", 200),
        ("subonly", "/channel/empty?topic=t", 400),
        ("subonly", "/channel/seek?topic=t&channel=ch&to=start", 200),
        ("onech", "/channel/create?topic=ta_&channel=ch", 404),
        ("onech", "/channel/create?topic=ta_&channel=other", 403),
        ("full", "/topic/empty?topic=t", 200),
        ("full", "/topic/delete?topic=t", 200),
        ("full", "/debug/freememory", 500),
    ],
)
async def test_rights_are_those_of_tcp(
    tmp_path: Path, secret: str, target: str, status: int
) -> None:
    async with guarded_node(tmp_path) as (node, _):
        assert await ask(node, "POST", target, f"Bearer {secret}", data=b"x") == status


async def test_who_may_subscribe_reads_bodies(tmp_path: Path) -> None:
    async with guarded_node(tmp_path) as (node, _):
        assert await ask(node, "GET", "/topic/peek?topic=t", "Bearer subonly") == 200
        assert await ask(node, "GET", "/topic/peek?topic=t", "Bearer pubonly") == 403


async def test_the_auth_server_is_asked_once_for_its_time(tmp_path: Path) -> None:
    async with guarded_node(tmp_path) as (node, auth):
        basic = base64.b64encode(b"anybody:full").decode()
        for scheme in ("Bearer full", "bearer full", f"Basic {basic}"):
            assert await ask(node, "POST", "/pub?topic=t", scheme, data=b"x") == 200
        (request,) = auth.take_requests()
        assert request["path"] == "/auth?common_name=&remote_ip=127.0.0.1&secret=full&tls=false"
        assert await ask(node, "POST", "/pub?topic=t", "Basic =", data=b"x") == 401
        assert await ask(node, "POST", "/pub?topic=t", "Digest full", data=b"x") == 401


async def test_http_is_open_where_that_was_asked_for(tmp_path: Path) -> None:
    async with guarded_node(tmp_path, http_auth=False) as (node, auth):
        assert await ask(node, "POST", "/pub?topic=t", data=b"x") == 200
        assert auth.requests == []


@pytest.mark.parametrize(
    ("policy", "secret", "asked"),
    [
        ("require-verify", "", "common_name=robot&remote_ip=127.0.0.1&secret=&tls=true"),
        ("require-verify", "full", "common_name=robot&remote_ip=127.0.0.1&secret=full&tls=true"),
        # Anybody could have made it.
        ("require", "", None),
        ("require", "full", "common_name=&remote_ip=127.0.0.1&secret=full&tls=true"),
    ],
)
async def test_a_certificate_names_its_owner_if_it_was_verified(
    tmp_path: Path, policy: str, secret: str, asked: str | None
) -> None:
    authority = Authority(tmp_path)
    server, client = authority.server(), authority.client("robot")
    options = {
        "tls_cert": str(server.certificate),
        "tls_key": str(server.key),
        "tls_client_auth_policy": policy,
        "tls_root_ca_file": str(authority.certificate),
        "https_address": "127.0.0.1:0",
    }
    (tmp_path / "data").mkdir()
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    async with guarded_node(tmp_path / "data", **options) as (node, auth):
        url = f"https://{node.nsqd.https_address}/pub?topic=t"
        context = authority.client_context(client)
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(url, data=b"x", ssl=context) as answer,
        ):
            assert answer.status == (200 if asked else 401)
    paths = [request["path"] for request in auth.take_requests()]
    assert paths == ([f"/auth?{asked}"] if asked else [])


async def test_keys_of_urls_are_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://user:hidden1@auth.example/auth?key=hidden2"
    monkeypatch.setattr(
        "sys.argv", ["nsqd", f"--auth-http-address={url}", "-auth-http-address", url]
    )
    async with running_node(tmp_path, auth_http_address=[url], http_auth=False) as node:
        for path in (
            "/config/auth_http_addresses",
            "/options",
            "/debug/pprof/cmdline",
            "/info",
            "/stats?format=json",
            "/metrics",
        ):
            assert b"hidden" not in await node.get(path), path
        assert b"http://auth.example/auth" in await node.get("/debug/pprof/cmdline")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},  # by a name that leads here
    ],
)
async def test_pages_in_browsers_change_nothing_and_read_no_messages(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    changes = [route for route in RIGHTS if route[0] != "GET"]
    reads = [route for route, right in RIGHTS.items() if right is Right.READ]
    async with (
        running_node(tmp_path) as node,
        aiohttp.ClientSession(f"http://{node.nsqd.http_address}", headers=headers) as page,
    ):
        for method, path in [*changes, *reads]:
            async with page.request(method, f"{path}?{OF_MESSAGES}", data=b"x") as answer:
                assert (answer.status, await answer.json()) == (403, {"message": "CROSS_SITE"})
        assert not node.broker.topics
        async with page.get("/ping") as answer:
            assert answer.status == 200


async def test_who_types_an_address_is_no_page(tmp_path: Path) -> None:
    async with guarded_node(tmp_path, http_auth=False) as (node, _):
        headers = {"Sec-Fetch-Site": "none"}
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{node.nsqd.http_address}/topic/peek?topic=t", headers=headers) as got,
        ):
            assert got.status == 200
