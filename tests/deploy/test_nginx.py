"""The dashboard behind a real nginx, with the sites of ``deploy/nginx``."""

import base64
import hashlib
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from deploy.generate import ROOT
from deploy.nginx_sites import SITES, Site
from tests.support.certificates import Authority
from tests.support.dashboard import WRITE_HEADERS
from tests.support.nginx import nginx_program, running_nginx
from tests.support.processes import free_port, running_cluster

FORGED = {"X-Forwarded-User": "alice"}


def password(name: str) -> str:
    """A line of an htpasswd file, for the password ``secret``."""
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    return f"{name}:{{SHA}}{digest}\n"


class Visit:
    """What somebody does at the dashboard, through nginx."""

    def __init__(self, url: str, session: aiohttp.ClientSession, authority: Authority) -> None:
        self.url = url
        self._session = session
        self._context = authority.client_context()

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        request = self._session.get(
            self.url + path, ssl=self._context, headers=headers, allow_redirects=False
        )
        async with request as answer:
            return answer.status, answer.headers.get("Location", "") or await answer.text()

    async def create(self, topic: str, **headers: str) -> int:
        """Create a topic, as a page does; return the status."""
        body = {"action": "create_topic", "topic": topic}
        async with self._session.post(
            f"{self.url}/nsqadmin/api/v2/actions",
            json=body,
            ssl=self._context,
            headers={**WRITE_HEADERS, "Origin": self.url, **headers},
        ) as answer:
            return answer.status

    @asynccontextmanager
    async def live(self, **headers: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        url = f"{self.url}/nsqadmin/api/v2/ws"
        headers["Origin"] = self.url
        async with self._session.ws_connect(url, ssl=self._context, headers=headers) as socket:
            yield socket


def basic(name: str) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth(name, "secret")}


@asynccontextmanager
async def behind_nginx(folder: Path, site: str, **upstreams: str) -> AsyncIterator[Visit]:
    nginx_program()
    authority = Authority(folder)
    flags = ("--base-path=/nsqadmin", "--admin-user=alice")
    async with running_cluster(folder) as cluster, aiohttp.ClientSession() as session:
        lookupd = await cluster.lookupd()
        await cluster.nsqd(lookupds=[lookupd])
        admin = await cluster.admin(*flags, lookupds=[lookupd])
        tls = authority.server()
        it = Site(
            site,
            tls.certificate,
            tls.key,
            port=free_port(),
            upstreams={"nsqadmin": admin.http_address, **upstreams},
            passwords=password("alice") + password("bob"),
        )
        async with running_nginx(folder / "nginx", it) as url:
            yield Visit(url, session, authority)


async def test_behind_passwords(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path, "nsqadmin.conf") as visit:
        alice, bob = basic("alice"), basic("bob")
        assert (await visit.get("/nsqadmin"))[0] == 401
        assert await visit.get("/nsqadmin/", **alice) == (301, "/nsqadmin")
        assert (await visit.get("/nsqadministrators", **alice))[0] == 404

        status, page = await visit.get("/nsqadmin", **alice)
        assert status == 200
        assert "<title>" in page
        assert 'href="/nsqadmin/' in page

        async with visit.live(**alice) as socket:
            assert (await socket.receive_json(timeout=10))["k"] == "hello"

        assert await visit.create("orders", **alice) == 200
        assert await visit.create("refunds", **bob) == 403
        # What nginx says of bob replaces what he says himself.
        assert await visit.create("refunds", **bob, **FORGED) == 403
        assert await visit.create("refunds", **FORGED) == 401


async def asked_who(request: web.Request) -> web.Response:
    """oauth2-proxy's answer to nginx: the e-mail address in the cookie, or 401."""
    name = request.cookies.get("_oauth2_proxy")
    if name is None:
        return web.Response(status=401)
    return web.Response(status=202, headers={"X-Auth-Request-Email": name})


@pytest.fixture
async def sign_on() -> AsyncIterator[str]:
    """Where something listens that answers as oauth2-proxy does."""
    app = web.Application()
    app.router.add_get("/oauth2/auth", asked_who)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    yield f"{host}:{port}"
    await runner.cleanup()


async def test_behind_oauth2_proxy(tmp_path: Path, sign_on: str) -> None:
    site = "nsqadmin-oauth2-proxy.conf"
    async with behind_nginx(tmp_path, site, oauth2_proxy=sign_on) as visit:
        alice, bob = ({"Cookie": f"_oauth2_proxy={name}"} for name in ("alice", "bob"))
        status, place = await visit.get("/nsqadmin/topic/orders")
        assert (status, place) == (302, f"{visit.url}/oauth2/sign_in?rd=/nsqadmin/topic/orders")
        assert (await visit.get("/oauth2/auth", **alice))[0] == 404  # nginx asks it, nobody else

        assert (await visit.get("/nsqadmin", **alice))[0] == 200
        async with visit.live(**alice) as socket:
            assert (await socket.receive_json(timeout=10))["k"] == "hello"

        assert await visit.create("orders", **alice) == 200
        assert await visit.create("refunds", **bob) == 403
        assert await visit.create("refunds", **bob, **FORGED) == 403


def test_oauth2_proxy_is_where_nginx_asks() -> None:
    text = (ROOT / "deploy" / "oauth2-proxy" / "oauth2-proxy.cfg").read_text()
    options = tomllib.loads(text)
    site = (SITES / "nsqadmin-oauth2-proxy.conf").read_text()
    assert f"server {options['http_address']};" in site
    assert options["set_xauthrequest"]
    assert options["reverse_proxy"]
