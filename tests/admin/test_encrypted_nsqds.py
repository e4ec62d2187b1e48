"""A dashboard over an nsqd that wants TLS and a secret: it looks, changes, publishes and tails."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from nsqx.nsqd.daemon import Nsqd
from nsqx.protocol.errors import StartupError
from nsqx.runtime.options.flags import TlsRequired
from nsqx.runtime.process import logs
from nsqx.runtime.process.logs import Level
from tests.support.auth_server import running_auth_server
from tests.support.certificates import Authority
from tests.support.dashboard import WRITE_HEADERS
from tests.support.node import running_node


@pytest.fixture
async def nsqd(tmp_path: Path) -> AsyncIterator[Nsqd]:
    authority = Authority(tmp_path)
    server = authority.server()
    _ = authority.certificate
    (tmp_path / "secret").write_text("full\n")
    (tmp_path / "data").mkdir()
    async with (
        running_auth_server() as auth,
        running_node(
            tmp_path / "data",
            tls_cert=str(server.certificate),
            tls_key=str(server.key),
            tls_required=TlsRequired.YES,
            https_address="127.0.0.1:0",
            auth_http_address=[auth.address],
        ) as node,
    ):
        node.broker.get_topic("t")
        yield node.nsqd


@asynccontextmanager
async def dashboard(folder: Path, nsqd: Nsqd, **options: Any) -> AsyncIterator["Asked"]:
    known = {
        "http_address": "127.0.0.1:0",
        "nsqd_http_address": [nsqd.http_address],
        "nsqd_tls": True,
        "http_client_tls_root_ca_file": str(folder / "authority.pem"),
        "nsqd_auth_secret_file": str(folder / "secret"),
    }
    async with (
        Admin(AdminOptions(**{**known, **options})) as admin,
        aiohttp.ClientSession(f"http://{admin.http_address}", headers=WRITE_HEADERS) as session,
    ):
        yield Asked(session)


class Asked:
    """Requests to the dashboard."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def sees(self, key: str) -> None:
        """Return when a document is there."""
        async with self.session.get(f"/api/v2/events?key={key}") as events:
            while b'"row"' not in await events.content.readline():
                pass

    async def post(self, path: str, body: Any) -> int:
        async with self.session.post(f"/api/v2/{path}", json=body) as answer:
            return answer.status


async def test_all_that_a_dashboard_does_by_tls_and_with_the_secret(
    nsqd: Nsqd, tmp_path: Path
) -> None:
    async with dashboard(tmp_path, nsqd) as admin:
        await admin.sees("topic:t")
        pause = {"action": "pause_topic", "topic": "t"}
        assert await admin.post("actions", pause) == 200
        assert nsqd.broker.topics["t"].is_paused
        assert await admin.post("actions", {**pause, "action": "unpause_topic"}) == 200
        async with admin.session.ws_connect("/api/v2/ws") as page:
            await page.send_json({"sub": ["tail:t"]})
            while not nsqd.broker.topics["t"].channels:
                await page.receive_json(timeout=10)
            assert await admin.post("topics/t/messages", {"body": "hello"}) == 200
            while "hello" not in str(await page.receive_json(timeout=10)):
                pass


async def test_without_the_secret_nothing_is_changed(nsqd: Nsqd, tmp_path: Path) -> None:
    async with dashboard(tmp_path, nsqd, nsqd_auth_secret_file="") as admin:
        await admin.sees("topic:t")
        assert await admin.post("actions", {"action": "pause_topic", "topic": "t"}) == 502
        assert not nsqd.broker.topics["t"].is_paused


def test_a_file_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    import asyncio

    options = AdminOptions(
        http_address="127.0.0.1:0",
        nsqd_http_address=["127.0.0.1:1"],
        nsqd_auth_secret_file=str(tmp_path / "none"),
    )
    with pytest.raises(StartupError, match="none"):
        asyncio.run(Admin(options).start())


async def test_directories_may_be_named_by_url() -> None:
    AdminOptions(lookupd_http_address=["https://127.0.0.1", "http://[::1]:4161"]).check()
    for wrong in ("https://user@127.0.0.1:4161", "https://127.0.0.1:4161/path", "ftp://a:1"):
        with pytest.raises(StartupError, match="lookupd-http-address"):
            AdminOptions(lookupd_http_address=[wrong]).check()


async def test_a_dashboard_asks_a_directory_by_https_only(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.server()
    (tmp_path / "data").mkdir()
    async with (
        Lookupd(
            LookupdOptions(
                tcp_address="127.0.0.1:0",
                http_address="127.0.0.1:0",
                https_address="127.0.0.1:0",
                tls_cert=str(server.certificate),
                tls_key=str(server.key),
            )
        ) as lookupd,
        running_node(
            tmp_path / "data",
            lookupd_tcp_address=[lookupd.tcp_address],
            lookupd_tls=True,
            lookupd_tls_root_ca_file=str(authority.certificate),
        ) as node,
    ):
        node.broker.get_topic("t")
        options = AdminOptions(
            http_address="127.0.0.1:0",
            lookupd_http_address=[f"https://{lookupd.https_address}"],
            http_client_tls_root_ca_file=str(authority.certificate),
        )
        async with (
            Admin(options) as admin,
            aiohttp.ClientSession(f"http://{admin.http_address}") as session,
        ):
            async with asyncio.timeout(20):
                await Asked(session).sees("topic:t")
            async with session.get("/api/topics") as answer:
                assert (await answer.json())["topics"] == ["t"]


async def test_the_certificate_that_nsqds_are_shown_is_read_again(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, name="old"), Authority(tmp_path, name="new")
    shown, replacement = old.client("dashboard"), new.client("dashboard")
    options = AdminOptions(
        http_address="127.0.0.1:0",
        nsqd_http_address=["127.0.0.1:1"],
        http_client_tls_cert=str(shown.certificate),
        http_client_tls_key=str(shown.key),
    )
    output = io.StringIO()
    logs.setup("nsq", Level.INFO, "", output)
    async with Admin(options) as admin:
        replacement.certificate.replace(shown.certificate)
        admin.reload()  # the key is still the old one
        replacement.key.replace(shown.key)
        admin.reload()
    logs.setup("nsq", Level.INFO, "")
    failed, reloaded = [line for line in output.getvalue().splitlines() if "certificate" in line]
    assert "the old one stays" in failed
    assert "the certificate was loaded again" in reloaded
