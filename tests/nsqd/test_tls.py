"""TLS of a real process: who is let in, what /stats shows, and what is wrong at the start."""

import asyncio
import signal
import ssl
import struct
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nsqx.nsqd.options import NsqdOptions
from nsqx.nsqd.tls import cipher_name, server_context, version_name
from nsqx.protocol.errors import StartupError
from tests.support.certificates import Authority, Identity
from tests.support.processes import Cluster, Nsqd

IDENTIFY = b'{"feature_negotiation":true,"tls_v1":true}'
SECONDS_MAX = 20.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """An authority that the broker does not trust."""
    return Authority(tmp_path, name="stranger")


async def start(cluster: Cluster, authority: Authority, *flags: str) -> Nsqd:
    server = authority.server()
    return await cluster.nsqd(
        f"--tls-cert={server.certificate}",
        f"--tls-key={server.key}",
        "--https-address=127.0.0.1:0",
        *flags,
    )


@asynccontextmanager
async def upgraded(
    node: Nsqd, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that has upgraded to TLS and got the OK inside it."""
    host, _, port = node.tcp_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"  V2IDENTIFY\n" + struct.pack(">i", len(IDENTIFY)) + IDENTIFY)
        assert b'"tls_v1":true' in await frame(reader)
        async with asyncio.timeout(SECONDS_MAX):
            await writer.start_tls(context)
        assert await frame(reader) == b"OK"
        yield reader, writer
    finally:
        writer.transport.abort()


async def frame(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SECONDS_MAX):
        size, _ = struct.unpack(">ii", await reader.readexactly(8))
        return await reader.readexactly(size - 4)


async def https_url(node: Nsqd) -> str:
    line = await node.wait_for_log("HTTPS: listening on ")
    return f"https://{line.rpartition(' ')[2]}"


async def ask_over_https(url: str, context: ssl.SSLContext) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/ping", ssl=context) as response,
    ):
        return await response.text()


async def only_client(node: Nsqd, context: ssl.SSLContext) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{await https_url(node)}/stats?format=json", ssl=context) as response,
    ):
        (topic,) = (await response.json())["topics"]
        client: dict[str, Any] = topic["channels"][0]["clients"][0]
        return client


async def test_stats_name_version_and_suite(cluster: Cluster, authority: Authority) -> None:
    node = await start(cluster, authority)
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES128+AESGCM")
    async with upgraded(node, context) as (reader, writer):
        writer.write(b"SUB t ch\n")
        assert await frame(reader) == b"OK"
        client = await only_client(node, context)
        assert client["tls_version"] == "TLS1.2"
        assert client["tls_cipher_suite"] in (
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        )


async def test_without_an_option_nothing_older_than_1_2_is_taken(
    cluster: Cluster, authority: Authority
) -> None:
    node = await start(cluster, authority)
    context = authority.client_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with upgraded(node, context):
            pass


async def test_a_new_certificate_is_taken_up_at_a_signal(
    cluster: Cluster, authority: Authority, stranger: Authority
) -> None:
    node = await start(cluster, authority)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with upgraded(node, stranger.client_context()):
            pass
    new = stranger.server()
    new.certificate.replace(authority.folder / "authority-server.pem")
    new.key.replace(authority.folder / "authority-server-key.pem")
    node.send_signal(signal.SIGHUP)
    await node.wait_for_log("the certificate was loaded again")
    async with upgraded(node, stranger.client_context()) as (reader, writer):
        writer.write(b"PUB t\n\0\0\0\1x")
        assert await frame(reader) == b"OK"


async def test_versions_below_the_least_are_refused(cluster: Cluster, authority: Authority) -> None:
    node = await start(cluster, authority, "--tls-min-version=tls1.3")
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with upgraded(node, context):
            pass
    async with upgraded(node, authority.client_context()) as (reader, writer):
        writer.write(b"PUB t\n\0\0\0\1x")
        assert await frame(reader) == b"OK"


async def test_require_takes_any_certificate(
    cluster: Cluster, authority: Authority, stranger: Authority
) -> None:
    node = await start(cluster, authority, "--tls-client-auth-policy=require")
    for issuer in (authority, stranger):
        context = authority.client_context(issuer.client("worker"))
        async with upgraded(node, context) as (reader, writer):
            writer.write(b"PUB t\n\0\0\0\1x")
            assert await frame(reader) == b"OK"
        assert await ask_over_https(await https_url(node), context) == "OK"


@pytest.mark.parametrize("policy", ["require", "require-verify"])
async def test_no_certificate_is_refused(
    cluster: Cluster, authority: Authority, policy: str
) -> None:
    node = await start(
        cluster,
        authority,
        f"--tls-client-auth-policy={policy}",
        f"--tls-root-ca-file={authority.certificate}",
    )
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        async with upgraded(node, authority.client_context()):
            pass
    with pytest.raises(aiohttp.ClientError):
        await ask_over_https(await https_url(node), authority.client_context())


async def test_require_verify_takes_certificates_of_its_authority_only(
    cluster: Cluster, authority: Authority, stranger: Authority
) -> None:
    node = await start(
        cluster,
        authority,
        "--tls-client-auth-policy=require-verify",
        f"--tls-root-ca-file={authority.certificate}",
    )
    known = authority.client_context(authority.client("worker"))
    async with upgraded(node, known) as (reader, writer):
        writer.write(b"PUB t\n\0\0\0\1x")
        assert await frame(reader) == b"OK"
    unknown = authority.client_context(stranger.client("worker"))
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        async with upgraded(node, unknown):
            pass


async def test_a_policy_requires_tls(cluster: Cluster, authority: Authority) -> None:
    node = await start(cluster, authority, "--tls-client-auth-policy=require")
    host, _, port = node.tcp_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"  V2PUB t\n")
    expected = b"E_INVALID cannot PUB in current state (TLS required)"
    assert await frame(reader) == expected
    writer.close()
    https_port = (await https_url(node)).rpartition(":")[2]
    answer = f'{{"message": "TLS_REQUIRED", "https_port": {https_port}}}'.encode()
    assert await node.get("/stats") == (403, answer)


async def test_a_handshake_that_fails_is_told_in_the_clear(
    cluster: Cluster, authority: Authority
) -> None:
    node = await start(cluster, authority)
    host, _, port = node.tcp_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"  V2IDENTIFY\n" + struct.pack(">i", len(IDENTIFY)) + IDENTIFY)
    assert b'"tls_v1":true' in await frame(reader)
    writer.write(b"this is not a handshake")
    async with asyncio.timeout(SECONDS_MAX):
        rest = await reader.read()
    assert b"E_IDENTIFY_FAILED IDENTIFY failed TLS handshake failed: " in rest
    writer.close()


# At the start


def options_of(identity: Identity, **others: Any) -> NsqdOptions:
    return NsqdOptions(tls_cert=str(identity.certificate), tls_key=str(identity.key), **others)


def test_a_missing_file_is_named(authority: Authority, tmp_path: Path) -> None:
    options = options_of(Identity(authority.server().certificate, tmp_path / "none.pem"))
    with pytest.raises(StartupError, match=r"build TLS config - open .*none\.pem: No such file"):
        server_context(options)


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    server, client = authority.server(), authority.client("worker")
    with pytest.raises(StartupError, match=r"the key in .* is not that of the certificate in "):
        server_context(options_of(Identity(server.certificate, client.key)))


def test_a_file_that_is_no_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("hello")
    identity = Identity(tmp_path / "text.pem", authority.server().key)
    with pytest.raises(StartupError, match="is not a certificate or key in PEM format"):
        server_context(options_of(identity))


def test_an_empty_authority_file_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    options = options_of(
        authority.server(),
        tls_client_auth_policy="require-verify",
        tls_root_ca_file=str(tmp_path / "empty.pem"),
    )
    with pytest.raises(StartupError, match=r"no certificate in .* \(--tls-root-ca-file\)"):
        server_context(options)


async def test_the_program_says_it_in_one_line(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nsqx.nsqd", "--tcp-address=127.0.0.1:0"),
        *("--http-address=127.0.0.1:0", f"--data-path={tmp_path}"),
        *("--tls-cert=/nosuch.pem", "--tls-key=/nosuch.pem"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    (line,) = stderr.decode().splitlines()
    assert "FATAL: failed to instantiate nsqd - failed to build TLS config - open /nosuch" in line
    assert process.returncode == 1


# Names


@pytest.mark.parametrize(
    ("openssl_name", "name"),
    [
        ("TLSv1.3", "TLS1.3"),
        ("TLSv1.2", "TLS1.2"),
        ("TLSv1", "TLS1.0"),
    ],
)
def test_version_names(openssl_name: str, name: str) -> None:
    assert version_name(openssl_name) == name


@pytest.mark.parametrize(
    ("openssl_name", "name"),
    [
        ("TLS_AES_128_GCM_SHA256", "Unknown 4865"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-AES256-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
        ("ECDHE-RSA-AES256-GCM-SHA384", "Unknown 49200"),
    ],
)
def test_cipher_names(openssl_name: str, name: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL")
    assert cipher_name(context, openssl_name) == name
