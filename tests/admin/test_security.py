"""
What must be refused, over real sockets: requests from other sites, missing roles, forged headers,
oversized bodies. ``tests/admin/guard/test_access.py`` has the rules themselves.
"""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nsqx.admin.daemon import Admin
from nsqx.admin.guard.credentials import password_line, token_line
from nsqx.admin.options import AdminOptions
from nsqx.protocol.errors import StartupError
from tests.support.fake_http import FakeHttp, fake_http

WRITE = {"X-NSQX-Request": "1"}
PAUSE = {"action": "pause_topic", "topic": "t"}


@pytest.fixture
async def nsqd() -> AsyncIterator[FakeHttp]:
    stats = {"topics": [{"topic_name": "t", "channels": [{"channel_name": "c"}]}]}
    async with fake_http({"/stats": stats, "/topic/pause": ""}) as fake:
        port = int(fake.address.rpartition(":")[2])
        fake.answers["/info"] = {
            "broadcast_address": "127.0.0.1",
            "tcp_port": 1,
            "http_port": port,
        }
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Visit:
    """Requests to one dashboard."""

    def __init__(self, admin: Admin, session: aiohttp.ClientSession) -> None:
        self.admin = admin
        self.session = session

    async def status(
        self, method: str, path: str, body: Any = None, /, **headers: str
    ) -> tuple[int, str]:
        """Return the status and the message of an answer."""
        url = f"http://{self.admin.http_address}{path}"
        async with self.session.request(method, url, json=body, headers=headers) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            found = await response.json() if is_json else {}
            assert response.status != 500, text
            return response.status, found.get("message", "") if isinstance(found, dict) else ""

    async def pause(self, **headers: str) -> tuple[int, str]:
        return await self.status("POST", "/api/v2/actions", PAUSE, **{**WRITE, **headers})

    async def pause_v1(self, **headers: str) -> tuple[int, str]:
        return await self.status("POST", "/api/topics/t", {"action": "pause"}, **headers)


def dashboard(nsqd: FakeHttp, **options: Any) -> Admin:
    return Admin(
        AdminOptions(http_address="127.0.0.1:0", nsqd_http_address=[nsqd.address], **options)
    )


async def seen(admin: Admin, session: aiohttp.ClientSession) -> Visit:
    """Wait until the dashboard has seen the node: a second version of the summary is there."""
    url = f"http://{admin.http_address}/api/v2/events?key=topic:t"
    async with session.get(url, headers={"Authorization": "Bearer admin"}) as response:
        if response.status == 200:
            while b'"nodes":{"' not in await response.content.readline():
                pass
    return Visit(admin, session)


# --- other sites ---


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_change_from_another_site_is_refused(
    nsqd: FakeHttp, session: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    async with dashboard(nsqd) as admin:
        visit = await seen(admin, session)
        assert await visit.pause(**headers) == (403, "CROSS_SITE")
        assert await visit.pause_v1(**headers) == (403, "FORBIDDEN")
        publish = ("POST", "/api/v2/topics/t/messages", {"body": "x"})
        assert await visit.status(*publish, **WRITE, **headers) == (403, "CROSS_SITE")
        assert await visit.status("DELETE", "/api/topics/t", **headers) == (403, "FORBIDDEN")
        put = ("PUT", "/config/log_level", "debug")
        assert await visit.status(*put, **headers) == (403, "FORBIDDEN")
    assert not any("/topic/pause" in request for request in nsqd.requests)


async def test_a_change_by_a_page_of_ours_and_by_a_program_is_allowed(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with dashboard(nsqd, allowed_origin=["https://nsq.example"]) as admin:
        visit = await seen(admin, session)
        own = {"Origin": f"http://{admin.http_address}", "Sec-Fetch-Site": "same-origin"}
        behind_proxy = {"Origin": "https://nsq.example", "Sec-Fetch-Site": "same-origin"}
        for headers in (own, behind_proxy, {}):
            assert await visit.pause(**headers) == (200, "")
            assert await visit.pause_v1(**headers) == (200, "")


async def test_a_form_cannot_send_what_our_api_demands(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with dashboard(nsqd) as admin:
        visit = await seen(admin, session)
        assert await visit.status("POST", "/api/v2/actions", PAUSE) == (403, "CROSS_SITE")


async def test_a_socket_that_another_site_opens_is_refused(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with dashboard(nsqd) as admin:
        url = f"http://{admin.http_address}/api/v2/ws"
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await session.ws_connect(url, headers={"Origin": "http://evil.example"})
        assert raised.value.status == 403


# --- names that lead here ---

REBOUND = {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}


async def test_a_name_that_was_made_to_lead_here_changes_and_reads_nothing(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with dashboard(nsqd) as admin:
        visit = await seen(admin, session)
        assert await visit.pause(**REBOUND) == (403, "UNKNOWN_HOST")
        status, message = await visit.pause_v1(**REBOUND)
        assert (status, "--allowed-host=evil.example" in message) == (403, True)
        messages = ("GET", "/api/v2/topics/t/messages")
        assert (await visit.status(*messages, **REBOUND))[0] == 403
        # Looking at numbers, and programs, go on as before.
        assert (await visit.status("GET", "/api/v2/snapshot", **REBOUND))[0] == 200
        assert await visit.pause(Host="nsq.example") == (200, "")


@pytest.mark.parametrize(
    "options", [{"allowed_host": ["evil.example"]}, {"allowed_host": ["*"]}, {"admin_user": ["x"]}]
)
async def test_a_name_that_was_given_is_known(
    nsqd: FakeHttp, session: aiohttp.ClientSession, options: dict[str, Any]
) -> None:
    async with dashboard(nsqd, **options) as admin:
        visit = await seen(admin, session)
        assert await visit.pause(**REBOUND, **{"X-Forwarded-User": "x"}) == (200, "")


async def test_who_is_no_admin_does_not_point_the_dashboard_elsewhere(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with dashboard(nsqd, admin_user=["alice"], operator_user=["olaf"]) as admin:
        visit = await seen(admin, session)
        put = ("PUT", "/config/nsqlookupd_http_addresses", ["10.0.0.1:4161"])
        for user in ("", "olaf", "eve"):
            assert await visit.status(*put, **{"X-Forwarded-User": user}) == (403, "FORBIDDEN")
        assert await visit.status(*put, **{"X-Forwarded-User": "alice"}) == (200, "")
        url = f"http://{admin.http_address}/api/v2/activity"
        async with session.get(url) as response:
            (entry,) = (await response.json())["full"]["entries"]
        assert (entry["action"], entry["user"], entry["via"]) == ("set_option", "alice", "config")
        assert "10.0.0.1:4161" in entry["detail"]


async def test_who_asks_by_socket_and_reads_nothing_is_let_go(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with (
        dashboard(nsqd) as admin,
        session.ws_connect(f"http://{admin.http_address}/api/v2/ws") as socket,
        asyncio.timeout(20),
    ):
        await socket.send_json({"sub": ["x" * 100] * 400})
        received = [message.data async for message in socket]  # until it is closed
    assert len(received) <= 257
    assert all(len(data) < 1000 for data in received)


# --- roles ---


async def test_who_is_no_admin_may_look_and_change_nothing(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with dashboard(nsqd, admin_user=["alice"], operator_user=["olaf"]) as admin:
        visit = await seen(admin, session)
        alice, olaf, eve = ({"X-Forwarded-User": name} for name in ("alice", "olaf", "eve"))
        for headers in (eve, {}):
            assert await visit.pause(**headers) == (403, "FORBIDDEN")
            assert await visit.pause_v1(**headers) == (403, "FORBIDDEN")
            messages = ("GET", "/api/v2/topics/t/messages")
            assert await visit.status(*messages, **headers) == (403, "FORBIDDEN")
            assert (await visit.status("GET", "/api/v2/snapshot", **headers))[0] == 200
            assert (await visit.status("GET", "/api/topics", **headers))[0] == 200
        assert await visit.pause(**olaf) == (200, "")
        assert await visit.pause_v1(**olaf) == (200, "")
        delete = {"action": "delete_topic", "topic": "t", "confirm": "t"}
        assert await visit.status("POST", "/api/v2/actions", delete, **WRITE, **olaf) == (
            403,
            "FORBIDDEN",
        )
        assert await visit.status("DELETE", "/api/topics/t", **olaf) == (403, "FORBIDDEN")
        empty = ("POST", "/api/topics/t", {"action": "empty"})
        assert await visit.status(*empty, **olaf) == (403, "FORBIDDEN")
        assert await visit.pause(**alice) == (200, "")


async def test_a_tail_needs_the_right_to_read_messages(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with (
        dashboard(nsqd, admin_user=["alice"]) as admin,
        session.ws_connect(f"http://{admin.http_address}/api/v2/ws") as socket_,
    ):
        await socket_.send_json({"sub": ["tail:t"]})
        message = await socket_.receive_json()
        while message["k"] != "error":
            message = await socket_.receive_json()
        assert message["message"] == "FORBIDDEN"


async def test_a_forged_header_from_an_untrusted_address_is_not_believed(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    """The network of the options is another one than the loopback: we are the stranger."""
    options = {"admin_user": ["alice"], "acl_trusted_cidr": ["10.9.8.0/24"]}
    async with dashboard(nsqd, **options) as admin:
        visit = await seen(admin, session)
        assert await visit.pause(**{"X-Forwarded-User": "alice"}) == (403, "FORBIDDEN")
        assert await visit.pause_v1(**{"X-Forwarded-User": "alice"}) == (403, "FORBIDDEN")


async def test_read_only_refuses_every_change(
    nsqd: FakeHttp, session: aiohttp.ClientSession
) -> None:
    async with dashboard(nsqd, read_only=True) as admin:
        visit = await seen(admin, session)
        assert await visit.pause() == (403, "READ_ONLY")
        assert await visit.pause_v1() == (403, "FORBIDDEN")
        assert await visit.status("PUT", "/config/log_level", "debug") == (403, "FORBIDDEN")
        publish = ("POST", "/api/v2/topics/t/messages", {"body": "x"})
        assert await visit.status(*publish, **WRITE) == (403, "READ_ONLY")
    assert not any("/topic/pause" in request for request in nsqd.requests)


# --- credentials ---


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    tokens, users = tmp_path / "tokens", tmp_path / "users"
    tokens.write_text(
        "\n".join([token_line("root", "admin", "admin"), token_line("ci", "viewer", "look")])
    )
    users.write_text(password_line("alice", "operator", "secret"))
    return {"auth_token_file": str(tokens), "auth_basic_file": str(users)}


async def test_without_a_proof_nothing_is_shown(
    nsqd: FakeHttp, session: aiohttp.ClientSession, files: dict[str, str]
) -> None:
    async with dashboard(nsqd, **files) as admin:
        visit = await seen(admin, session)
        for path in ("/", "/plain", "/topics/t", "/api/topics", "/api/v2/snapshot", "/api/v2/ws"):
            assert await visit.status("GET", path) == (401, "UNAUTHORIZED"), path
        assert await visit.pause() == (401, "UNAUTHORIZED")
        assert await visit.pause_v1() == (401, "UNAUTHORIZED")
        assert (await visit.status("GET", "/config/log_level"))[0] == 401
        assert (await visit.status("GET", "/ping"))[0] == 200
        async with session.get(f"http://{admin.http_address}/") as response:
            assert response.headers["WWW-Authenticate"].startswith("Basic ")


async def test_with_a_proof_the_role_decides(
    nsqd: FakeHttp, session: aiohttp.ClientSession, files: dict[str, str]
) -> None:
    alice = "Basic " + base64.b64encode(b"alice:secret").decode()
    async with dashboard(nsqd, **files) as admin:
        visit = await seen(admin, session)
        assert await visit.pause(Authorization="Bearer look") == (403, "FORBIDDEN")
        assert await visit.pause(Authorization="Bearer wrong") == (401, "UNAUTHORIZED")
        assert await visit.pause(Authorization=alice) == (200, "")
        assert await visit.pause(Authorization="Bearer admin") == (200, "")
        assert (await visit.status("GET", "/", Authorization=alice))[0] == 200
        put = ("PUT", "/config/log_level", "nonsense")
        assert await visit.status(*put, Authorization=alice) == (403, "FORBIDDEN")
        assert await visit.status(*put, Authorization="Bearer admin") == (400, "INVALID_VALUE")


async def test_a_wrong_file_is_said_at_the_start(nsqd: FakeHttp, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("nonsense")
    with pytest.raises(StartupError, match="expected name:role:secret"):
        await dashboard(nsqd, auth_token_file=str(tmp_path / "tokens")).start()
    with pytest.raises(StartupError, match="No such file"):
        await dashboard(nsqd, auth_basic_file=str(tmp_path / "nosuch")).start()


# --- sizes ---


async def test_an_oversized_body_is_refused_before_it_arrives(nsqd: FakeHttp) -> None:
    async with dashboard(nsqd) as admin:
        host, _, port = admin.http_address.rpartition(":")
        for path, size in (
            ("/api/v2/actions", (1 << 20) + 1),
            ("/api/v2/topics/t/messages", (16 << 20) + 1),
            ("/api/topics", (1 << 20) + 1),
        ):
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nX-NSQX-Request: 1\r\n"
                f"Content-Length: {size}\r\n\r\n"
            )
            with socket.create_connection((host, int(port))) as connection:
                connection.setblocking(False)
                answer = await _exchange(connection, head.encode())
            assert answer.startswith(b"HTTP/1.1 413 "), path
            assert b"BODY_TOO_BIG" in answer


async def _exchange(connection: socket.socket, request: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, request)
    answer = b""
    async with asyncio.timeout(10):
        while b"BODY_TOO_BIG" not in answer:
            received = await loop.sock_recv(connection, 65536)
            if not received:
                break
            answer += received
    return answer


async def test_every_answer_has_the_policy(nsqd: FakeHttp, session: aiohttp.ClientSession) -> None:
    async with dashboard(nsqd) as admin:
        for path in ("/", "/plain", "/ping", "/api/topics", "/api/v2/me", "/nosuch", "/static/x"):
            async with session.get(f"http://{admin.http_address}{path}") as response:
                policy = response.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'"), path
                assert "unsafe" not in policy
                assert "http" not in policy  # no other host
                assert response.headers["X-Content-Type-Options"] == "nosniff"
