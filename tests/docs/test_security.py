"""The tables of docs/security.md: each route and command, and what it needs, by what answers."""

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.references import DAEMON_OPTIONS
from nsqx.admin.daemon import Admin
from nsqx.admin.guard.credentials import token_line
from nsqx.admin.options import AdminOptions
from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from nsqx.nsqd.http.api import HttpApi
from nsqx.nsqd.http.rights import RIGHTS
from nsqx.protocol import lookup
from nsqx.protocol.command_parser import LEGAL
from nsqx.runtime.options.flags import list_flags
from tests.support.auth_server import running_auth_server
from tests.support.fake_http import fake_http
from tests.support.node import running_node

DOCUMENT = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
ROLES = ("viewer", "operator", "admin")
COMMANDS = {
    "PUB": b"PUB t\n\0\0\0\1x",
    "MPUB": b"MPUB t\n\0\0\0\x09\0\0\0\1\0\0\0\1x",
    "DPUB": b"DPUB t 5\n\0\0\0\1x",
    "SUB": b"SUB t c\n",
}


def table(title: str) -> dict[str, str]:
    """What each row's first column names, and its second one, of the section with a title."""
    (section,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.M | re.S)
    found: dict[str, str] = {}
    for names, needs in re.findall(r"^\| (`.*?) \| (.*?) \|$", section, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", names):
            assert name not in found, name
            found[name] = needs
    return found


LISTENS = re.compile(r"(own_)?(tcp|http|https)_address")


@pytest.mark.parametrize("program", DAEMON_OPTIONS)
def test_every_port_is_told(program: str) -> None:
    """By its address, or by the option that opens it."""
    rows = re.findall(r"^\| ([^|]*) \|[^|]*\|[^|]*\|$", DOCUMENT, re.MULTILINE)
    for flag in list_flags(DAEMON_OPTIONS[program]):
        if listens := LISTENS.fullmatch(flag.name.replace("-", "_")):
            kind = listens[2].upper()
            named = flag.default_text.strip('"') or f"--{flag.name}"
            (row,) = (each for each in rows if f"`{named}`" in each)
            assert program in row
            assert re.search(rf"\b{kind}\b", row), row
        elif flag.name == "discover" or (program, flag.name) == ("nsqlookupd", "advertise"):
            (row,) = (each for each in rows if each.startswith("mDNS"))
            assert re.search(rf"{program}[^`]*`--{flag.name}`", row), row


def test_every_option_that_it_names_is_there() -> None:
    known = {f"--{flag.name}" for each in DAEMON_OPTIONS.values() for flag in list_flags(each)}
    of_commands = {"--tls"}
    assert set(re.findall(r"`(--[a-z-]+)", DOCUMENT)) <= known | of_commands


def routes(title: str) -> dict[tuple[str, str], str]:
    return {_route(name): needs for name, needs in table(title).items()}


def _route(name: str) -> tuple[str, str]:
    method, _, path = name.partition(" ")
    return method, path


async def test_requests_to_nsqd(tmp_path: Path) -> None:
    told = routes("nsqd: HTTP and HTTPS")
    assert told == {route: right.value for route, right in RIGHTS.items()}
    async with running_node(tmp_path) as node:
        assert set(HttpApi(node.nsqd).router().routes) == set(told)


async def test_commands_to_nsqd(tmp_path: Path) -> None:
    told = table("nsqd: commands")
    assert set(told) == {word.decode() for words in LEGAL.values() for word in words}
    async with (
        running_auth_server() as auth,
        running_node(tmp_path, auth_http_address=[auth.address]) as node,
    ):
        for word, command in COMMANDS.items():
            async with node.client() as client:
                client.send(command)
                refused = f"E_AUTH_FIRST AUTH required before {word}"
                assert await client.error() == refused.encode()
    of_topics = ("publish to", "subscribe to")
    assert {word for word, needs in told.items() if needs.startswith(of_topics)} == set(COMMANDS)


async def test_requests_and_commands_to_nsqlookupd() -> None:
    options = LookupdOptions(tcp_address="127.0.0.1:0", http_address="127.0.0.1:0")
    told = routes("nsqlookupd: HTTP")
    async with Lookupd(options) as lookupd:
        assert set(lookupd.routes) == set(told)
        assert set(told.values()) == {"nothing"}
        reader, writer = await asyncio.open_connection("127.0.0.1", lookupd.tcp_port)
        writer.write(lookup.MAGIC + lookup.PING + lookup.encode_register("t"))
        answers = await reader.read()
        assert answers.startswith(lookup.OK_ANSWER)
        assert b"client must IDENTIFY" in answers
        writer.close()
        await writer.wait_closed()
    assert set(table("nsqlookupd: commands")) == {"IDENTIFY", "PING", "REGISTER", "UNREGISTER"}


async def test_requests_to_nsqadmin(tmp_path: Path) -> None:
    told = routes("nsqadmin")
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(token_line(role, role, role) + "\n" for role in ROLES))
    about = {"broadcast_address": "127.0.0.1", "tcp_port": 1, "http_port": 2}
    options = {"http_address": "127.0.0.1:0", "auth_token_file": str(tokens)}
    async with (
        fake_http({"/stats": {"topics": []}, "/info": about}) as nsqd,
        Admin(AdminOptions(nsqd_http_address=[nsqd.address], **options)) as admin,  # type: ignore[arg-type]  # all are texts
        aiohttp.ClientSession(f"http://{admin.http_address}") as session,
    ):
        served = {(method, _STATIC.sub("/static/{file}", path)) for method, path in admin.routes}
        assert served == set(told)
        for (method, path), needs in told.items():
            assert await least_role(session, method, path) == needs, (method, path)


async def least_role(session: aiohttp.ClientSession, method: str, path: str) -> str:
    """Ask as nobody, and as more and more, until it is not refused."""
    for role in ("", *ROLES):
        headers = {"X-NSQX-Request": "1"}
        if role:
            headers["Authorization"] = f"Bearer {role}"
        target = path.replace("{opt}", "log_level").replace("{id}", "0" * 16)
        target = re.sub(r"\{\w+\}", "t", target)
        body: Any = BODIES.get(path, {}) if method != "GET" else None
        async with session.request(method, target, headers=headers, json=body) as answer:
            if answer.status not in (401, 403):
                return role or "nothing"
    raise AssertionError(f"{method} {path} is refused to everybody")


_STATIC = re.compile(r"/static/.*")
BODIES = {
    "/api/v2/actions": {"action": "create_topic", "topic": "t"},
    "/api/v2/attention": {"id": "a", "mark": "clear"},
}
