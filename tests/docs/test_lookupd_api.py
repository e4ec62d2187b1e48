"""docs/lookupd-api.md knows every route, option and metric of nsqlookupd."""

import re
from pathlib import Path

import aiohttp

from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from nsqx.runtime.options.flags import list_flags

DOCUMENT = (Path(__file__).parents[2] / "docs" / "lookupd-api.md").read_text()
API = (Path(__file__).parents[2] / "lookupd" / "nsqx" / "lookupd" / "http_api.py").read_text()


def documented() -> set[tuple[str, str]]:
    """Methods and paths."""
    return set(re.findall(r"`(GET|POST) (/[\w/]*)", DOCUMENT))


async def test_every_route_is_documented_and_answers() -> None:
    written = set(re.findall(r'\("(GET|POST)", "(/[\w/]*)"', API))
    profiles = re.findall(r'"(\w+)"', API.partition("PROFILES = (")[2].partition(")")[0])
    written |= {("GET", f"/debug/pprof/{name}") for name in profiles}
    assert documented() == written
    options = LookupdOptions(tcp_address="127.0.0.1:0", http_address="127.0.0.1:0")
    async with Lookupd(options) as lookupd, aiohttp.ClientSession() as session:
        address = f"http://{lookupd.http_address}"
        for method, path in documented():
            async with session.request(method, f"{address}{path}") as answer:
                text = await answer.text()
                assert answer.status in (200, 400), (path, text)
                assert answer.status == 200 or "MISSING_ARG_TOPIC" in text
        async with session.get(f"{address}/metrics") as answer:
            metrics = set(re.findall(r"^# TYPE (\S+)", await answer.text(), re.MULTILINE))
    assert metrics == set(re.findall(r"`((?:nsqlookupd|process|log|tasks)_\w+)`", DOCUMENT))


def test_every_option_exists() -> None:
    options = {f"--{each.name}" for each in list_flags(LookupdOptions)}
    assert set(re.findall(r"--[a-z][\w-]+", DOCUMENT)) <= options
