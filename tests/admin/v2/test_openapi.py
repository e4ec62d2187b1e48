"""The description of our API says what the server does."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from tests.support.fake_http import fake_http

DOCS = Path(__file__).parents[3] / "docs" / "admin-api.md"


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with fake_http({"/stats": {"topics": []}, "/info": {}}) as nsqd:
        options = AdminOptions(http_address="127.0.0.1:0", nsqd_http_address=[nsqd.address])
        async with Admin(options) as admin:
            yield admin


async def described(admin: Admin) -> dict[str, Any]:
    url = f"http://{admin.http_address}/api/v2/openapi.json"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        found: dict[str, Any] = await response.json()
    return found


async def test_every_route_is_described_and_nothing_else(admin: Admin) -> None:
    description = await described(admin)
    served = {path for path in admin.paths if path.startswith("/api/v2")}
    assert description["paths"].keys() == served


async def test_the_methods_are_those_that_the_server_takes(admin: Admin) -> None:
    description = await described(admin)
    async with aiohttp.ClientSession() as session:
        for path, operations in description["paths"].items():
            url = f"http://{admin.http_address}{re.sub('{.*?}', 'x', path)}"
            async with session.options(url) as response:
                allowed = set(response.headers["Allow"].split(", ")) - {"OPTIONS"}
            assert {method.upper() for method in operations} == allowed, path


async def test_it_holds_together(admin: Admin) -> None:
    description = await described(admin)
    assert description["openapi"] == "3.1.0"
    schemas = description["components"]["schemas"]
    for reference in re.findall(r"#/components/schemas/([\w.]+)", str(description)):
        assert reference in schemas
    operations = [
        (path, operation)
        for path, methods in description["paths"].items()
        for operation in methods.values()
    ]
    ids = [operation["operationId"] for _, operation in operations]
    assert len(ids) == len(set(ids))
    for path, operation in operations:
        in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert operation["summary"]


async def test_every_route_is_in_the_manual(admin: Admin) -> None:
    manual = re.sub("<.*?>", "", DOCS.read_text())
    names = {"{topic}": "T", "{channel}": "C", "{node}": "HOST:PORT", "{id}": "ID"}
    for path in (await described(admin))["paths"]:
        shown = path
        for name, text in names.items():
            shown = shown.replace(name, text)
        assert shown in manual, shown
