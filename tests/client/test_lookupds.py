"""Names that stand for several lookupds: all are asked, now and later."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
import trustme
from aiohttp import ClientSession, TCPConnector

from nsqx.client import Consumer, Nsq
from nsqx.client.addresses import lookup_url
from nsqx.client.errors import LookupFailed
from nsqx.client.lookup import lookup, make_session
from nsqx.client.lookupds import LookupdUrls
from nsqx.protocol.commands import Publish
from tests.support.dns import Dns, hanging_dns
from tests.support.fake_http import FakeHttp, fake_http
from tests.support.scripted_nsqd import ScriptedNsqd
from tests.support.stream_server import stream_server

SECONDS = 5.0


def urls(*given: str) -> LookupdUrls:
    return LookupdUrls(given, lambda address: lookup_url(address, "t"))


def names(nsqd: ScriptedNsqd) -> dict[str, object]:
    """Answers of a lookupd that knows this nsqd."""
    host, _, port = nsqd.address.rpartition(":")
    known = {"producers": [{"broadcast_address": host, "tcp_port": int(port)}]}
    return {"/lookup": known, "/nodes": known}


class Directory:
    """Two lookupds at one port of two addresses. Each knows one of two nsqds."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def start(self) -> None:
        self.nsqds = [await self._stack.enter_async_context(ScriptedNsqd()) for _ in range(2)]
        self.lookupds = [await self._lookupd("127.0.0.1", 0, names(self.nsqds[0]))]
        self.port = int(self.lookupds[0].address.rpartition(":")[2])
        self.lookupds.append(await self._lookupd("127.0.0.2", self.port, names(self.nsqds[1])))

    async def _lookupd(self, host: str, port: int, answers: Mapping[str, object]) -> FakeHttp:
        return await self._stack.enter_async_context(fake_http(answers, host, port))


@pytest.fixture
async def directory() -> AsyncIterator[Directory]:
    async with AsyncExitStack() as stack:
        directory = Directory(stack)
        await directory.start()
        yield directory


async def test_consumers_ask_every_lookupd_behind_a_name(directory: Directory, dns: Dns) -> None:
    dns["directory"] = ["127.0.0.1", "127.0.0.2"]
    name = f"directory:{directory.port}"
    async with Consumer("t", "c", lookupd=name, lookupd_poll_interval=600):
        for nsqd in directory.nsqds:
            await nsqd.accept()
    assert {host for lookupd in directory.lookupds for host in lookupd.hosts} == {name}


async def test_a_lookupd_that_joins_later_is_asked_too(directory: Directory, dns: Dns) -> None:
    dns["directory"] = ["127.0.0.1"]
    name = f"http://directory:{directory.port}"
    async with Consumer("t", "c", lookupd=name, lookupd_poll_interval=0.05):
        # The only address of a name is left to whoever connects, who asks the system.
        dns["directory"] = ["127.0.0.1", "127.0.0.2"]
        for nsqd in directory.nsqds:
            await nsqd.accept()


async def test_publishes_go_to_the_nodes_of_every_lookupd(directory: Directory, dns: Dns) -> None:
    dns["directory"] = ["127.0.0.1", "127.0.0.2"]
    async with Nsq(lookupd=f"directory:{directory.port}") as nsq:
        publishing = asyncio.create_task(nsq.publish("t", b"1"))
        peers = [await nsqd.accept() for nsqd in directory.nsqds]
        for peer in peers:
            await peer.identify()
        taking = {asyncio.create_task(peer.expect(Publish)): peer for peer in peers}
        done, rest = await asyncio.wait(taking, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            taking[task].ok()
        await publishing
        for task in rest:
            task.cancel()


@pytest.mark.parametrize(
    ("given", "found", "expected"),
    [
        ("10.0.0.9:4161", [], {"http://10.0.0.9:4161/lookup?topic=t&draining=true": ""}),
        ("directory", ["10.0.0.1"], {"http://directory:4161/lookup?topic=t&draining=true": ""}),
        (
            "directory",
            ["10.0.0.1", "fd00::1"],
            {"http://directory:4161/lookup?topic=t&draining=true": ""},
        ),
        (
            "directory",
            ["fd00::1", "fd00::2"],
            {
                "http://[fd00::1]:4161/lookup?topic=t&draining=true": "directory:4161",
                "http://[fd00::2]:4161/lookup?topic=t&draining=true": "directory:4161",
            },
        ),
        (
            "https://me:secret@directory/nsq/lookup",
            ["10.0.0.1", "10.0.0.2"],
            {
                "https://me:secret@10.0.0.1:443/nsq/lookup?topic=t&draining=true": "directory",
                "https://me:secret@10.0.0.2:443/nsq/lookup?topic=t&draining=true": "directory",
            },
        ),
    ],
)
async def test_what_a_name_becomes(
    dns: Dns, given: str, found: list[str], expected: dict[str, str]
) -> None:
    dns["directory"] = found
    assert await urls(given).resolve(SECONDS) == expected


async def test_an_outage_of_dns_changes_nothing(dns: Dns) -> None:
    given = urls("directory", "elsewhere")
    dns["directory"] = ["10.0.0.1", "10.0.0.2"]
    before = await given.resolve(SECONDS)
    # Whoever asks it says what is wrong.
    assert "http://elsewhere:4161/lookup?topic=t&draining=true" in before
    del dns["directory"]
    assert await given.resolve(SECONDS) == before


async def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with hanging_dns(monkeypatch):
        unresolved = {"http://hangs:4161/lookup?topic=t&draining=true": ""}
        assert await urls("hangs").resolve(0.01) == unresolved
        async with asyncio.timeout(SECONDS):
            found = await urls("hangs", "10.0.0.1").resolve(60)
        assert found == unresolved | {"http://10.0.0.1:4161/lookup?topic=t&draining=true": ""}


async def test_a_name_over_which_dns_hangs_does_not_keep_the_others_from_being_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ScriptedNsqd() as nsqd, fake_http(names(nsqd)) as lookupd:
        with hanging_dns(monkeypatch):
            lookupds = ["hangs:4161", lookupd.address]
            async with (
                asyncio.timeout(SECONDS),
                Nsq(lookupd=lookupds) as nsq,
                nsq.consume("t", "c"),
            ):
                await (await nsqd.accept()).subscribe()
                publishing = asyncio.create_task(nsq.publish("t", b"x"))
                peer = await nsqd.accept()
                await peer.identify()
                await peer.expect(Publish)
                peer.ok()
                await publishing


async def test_a_directory_that_sends_elsewhere_is_not_followed() -> None:
    asked: list[bytes] = []

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 307 Elsewhere\r\nLocation: /lookup\r\nContent-Length: 0\r\n\r\n")

    async with stream_server(redirect) as address, ClientSession() as session:
        with pytest.raises(LookupFailed, match="status 307"):
            await lookup(session, f"http://{address}/lookup?topic=t")
    assert len(asked) == 1


async def test_certificates_are_checked_against_the_name() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("directory").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with (
        fake_http({"/lookup": {"producers": []}}, tls=server) as lookupd,
        ClientSession(connector=TCPConnector(ssl=client)) as session,
    ):
        url = f"https://{lookupd.address}/lookup?topic=t"
        assert (await lookup(session, url, host="directory:443")).addresses == set()
        assert lookupd.hosts == ["directory:443"]
        with pytest.raises(LookupFailed, match="certificate"):
            await lookup(session, url)


async def test_the_port_of_another_protocol_is_called_so() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x00\x00\x00\x0eE_BAD_PROTOCOL")  # nsqlookupd's TCP port
        await writer.drain()

    async with stream_server(serve) as address, make_session() as session:
        with pytest.raises(LookupFailed) as failed:
            await lookup(session, lookup_url(address, "t"))
    assert failed.value.reason == "what answers there does not speak HTTP"
