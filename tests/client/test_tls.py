"""TLS on real sockets, with certificates made for the test."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from nsqx.client import ConnectFailed, IdentifyFailed, Producer, Settings
from nsqx.protocol.commands import Publish
from tests.support.scripted_nsqd import ScriptedNsqd


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def nsqd() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


async def test_publishes_inside_tls(
    nsqd: ScriptedNsqd, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with Producer(nsqd.address, settings=Settings(tls=client_context)) as producer:
        publish = asyncio.create_task(producer.publish("t", b"secret"))
        peer = await nsqd.accept()
        await peer.identify(tls_v1=True)
        assert peer.identify_request["tls_v1"] is True
        await peer.start_tls(server_context)
        assert (await peer.expect(Publish)).body == b"secret"
        peer.ok()
        await publish


async def test_a_client_certificate_is_shown(
    nsqd: ScriptedNsqd,
    authority: trustme.CA,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    server_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_context)
    authority.issue_cert("client@example.org").configure_cert(client_context)
    async with Producer(nsqd.address, settings=Settings(tls=client_context)) as producer:
        peer = await nsqd.accept()
        await peer.identify(tls_v1=True)
        await peer.start_tls(server_context)
        await producer.ready()
        assert peer.transport.get_extra_info("peercert")


async def test_an_unknown_certificate_is_refused(
    nsqd: ScriptedNsqd, server_context: ssl.SSLContext
) -> None:
    async with Producer(nsqd.address, settings=Settings(tls=True)) as producer:
        peer = await nsqd.accept()
        await peer.identify(tls_v1=True)
        with pytest.raises(OSError):  # noqa: PT011 (an alert or a reset, whichever is first)
            await peer.start_tls(server_context)
        with pytest.raises(ConnectFailed, match="certificate"):
            await producer.ready()


async def test_an_nsqd_without_tls_is_refused(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, settings=Settings(tls=True)) as producer:
        peer = await nsqd.accept()
        await peer.identify(tls_v1=False)
        with pytest.raises(IdentifyFailed, match="does not offer TLS"):
            await producer.ready()


async def test_a_peer_that_vanishes_during_the_handshake(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, settings=Settings(tls=True)) as producer:
        peer = await nsqd.accept()
        await peer.identify(tls_v1=True)
        peer.disconnect()
        with pytest.raises(ConnectFailed):
            await producer.ready()
