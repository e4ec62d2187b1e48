"""Names that stand for one nsqd and for several, by a resolver that says what a test wants."""

import asyncio

import pytest

from nsqx.client import ConnectFailed, Consumer, Settings
from nsqx.client.addresses import Address, parse_address
from nsqx.client.resolver import is_name, resolve
from tests.support.dns import Dns
from tests.support.scripted_nsqd import ScriptedNsqd

WAIT_SECONDS = 10.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1", False), ("[::1]:4150", False), ("localhost", True), ("nsqd.service", True)],
)
def test_what_is_a_name(text: str, expected: bool) -> None:
    assert is_name(parse_address(text)) is expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["10.0.0.1"], {"nsqd"}),
        (["10.0.0.1", "::1"], {"nsqd"}),
        (["10.0.0.1", "10.0.0.2"], {"10.0.0.1", "10.0.0.2"}),
        (["10.0.0.1", "10.0.0.2", "::1", "::2"], {"10.0.0.1", "10.0.0.2"}),
        (["10.0.0.1", "::1", "::2"], {"::1", "::2"}),
    ],
)
async def test_how_many_nsqds_a_name_stands_for(
    dns: Dns, found: list[str], expected: set[str]
) -> None:
    dns["nsqd"] = found
    assert await resolve(Address("nsqd", 4150)) == {Address(host, 4150) for host in expected}


async def test_all_nsqds_behind_a_name_are_consumed(dns: Dns) -> None:
    async with ScriptedNsqd() as nsqd:
        port = parse_address(nsqd.address).port
        dns["nsqd"] = ["127.0.0.1", "127.0.0.2"]  # nobody listens at the second
        async with Consumer("t", "c", nsqd=f"nsqd:{port}") as consumer:
            assert consumer._sources.given() == {Address("nsqd", port)}
            assert consumer._sources.resolver is not None
            await consumer._sources.resolver.first_try()
            assert consumer._sources.links.keys() == {
                Address("127.0.0.1", port),
                Address("127.0.0.2", port),
            }
            await nsqd.accept()


async def test_a_name_that_cannot_be_resolved(dns: Dns) -> None:
    async with Consumer("t", "c", nsqd="nowhere.invalid:4150") as consumer:
        with pytest.raises(ConnectFailed, match=r"nowhere\.invalid:4150"):
            await consumer.ready()


async def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("nsqx.net.names.addresses_of", hang)
    settings = Settings(connect_timeout=0.05)
    async with Consumer("t", "c", nsqd="nsqd:4150", settings=settings) as consumer:
        with pytest.raises(ConnectFailed, match=r"nsqd:4150: no answer from DNS within 0\.05 s"):
            await consumer.ready()


async def test_a_name_is_resolved_again(dns: Dns) -> None:
    dns["nsqd"] = ["127.0.0.2", "127.0.0.3"]
    async with Consumer("t", "c", nsqd="nsqd:1", lookupd_poll_interval=0.01) as consumer:
        assert consumer._sources.resolver is not None
        await consumer._sources.resolver.first_try()
        dns["nsqd"].append("127.0.0.4")
        async with asyncio.timeout(WAIT_SECONDS):
            while Address("127.0.0.4", 1) not in consumer._sources.links:  # noqa: ASYNC110 - inner state
                await asyncio.sleep(0.005)
        del dns["nsqd"]  # an outage of DNS changes nothing
        await consumer._sources.resolver._resolve(Address("nsqd", 1))
        assert len(consumer._sources.given()) == 3


async def test_certificates_are_checked_against_the_name(dns: Dns) -> None:
    dns["nsqd"] = ["127.0.0.2", "127.0.0.3"]
    async with Consumer("t", "c", nsqd="nsqd:1", settings=Settings(tls=True)) as consumer:
        assert consumer._sources.resolver is not None
        await consumer._sources.resolver.first_try()
        links = consumer._sources.links.values()
        assert {link._settings.tls_server_name for link in links} == {"nsqd"}
