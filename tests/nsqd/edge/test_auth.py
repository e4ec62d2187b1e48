"""The auth server's answers, and asking it: order, failures, TLS, and answers that run out."""

import asyncio
import json
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nsqx.net.host_port import without_secrets
from nsqx.nsqd.edge.auth import AuthAnswerError, decode_answer
from tests.support.auth_server import running_auth_server
from tests.support.certificates import Authority
from tests.support.processes import Cluster, Nsqd, free_port
from tests.support.stream_server import stream_server

SECONDS_MAX = 20.0
EVERYTHING = {"topic": ".*", "channels": [".*"], "permissions": ["subscribe", "publish"]}


def encoded(**fields: Any) -> bytes:
    return json.dumps({"ttl": 60, "authorizations": [EVERYTHING], **fields}).encode()


# Answers


def test_an_answer_is_good_for_its_ttl() -> None:
    authorization = decode_answer(encoded(identity="me", identity_url="http://me"), now_ns=5)
    assert authorization.expires_ns == 60_000_000_005
    assert authorization.answer == (
        b'{"identity":"me","identity_url":"http://me","permission_count":1}'
    )


def test_the_permission_depends_on_the_channel() -> None:
    rule = {"topic": "^t$", "channels": ["^ch$"], "permissions": ["subscribe", "publish"]}
    allowed = decode_answer(encoded(authorizations=[rule]), 0).is_allowed
    assert allowed("t", "ch")
    assert not allowed("t", "other")
    assert not allowed("other", "ch")
    assert not allowed("t", "")  # publishing: the channel is the empty name
    anything = {**rule, "channels": [".*"], "permissions": ["publish"]}
    allowed = decode_answer(encoded(authorizations=[anything]), 0).is_allowed
    assert allowed("t", "")
    assert not allowed("t", "ch")


def test_one_rule_of_several_is_enough() -> None:
    rules = [{**EVERYTHING, "topic": "^a$"}, {**EVERYTHING, "topic": "^b$"}]
    allowed = decode_answer(encoded(authorizations=rules), 0).is_allowed
    assert allowed("a", "")
    assert allowed("b", "x")
    assert not allowed("c", "")


def test_keys_are_read_in_any_case_and_null_is_as_good_as_absent() -> None:
    answer = b'{"TTL":1,"Identity":null,"authorizations":[{"Topic":"","Permissions":null}],"x":[]}'
    assert decode_answer(answer, 0).permission_count == 1
    assert decode_answer(b'{"ttl":1}', 0).permission_count == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"hello",
        b"[]",
        b"",
        b"{}",
        b"\xff",
        encoded(ttl=0),
        encoded(ttl=-1),
        encoded(ttl="60"),
        encoded(ttl=60.5),
        encoded(identity=5),
        encoded(authorizations={}),
        encoded(authorizations=["x"]),
        encoded(authorizations=[{**EVERYTHING, "permissions": ["read"]}]),
        encoded(authorizations=[{**EVERYTHING, "topic": "("}]),
        encoded(authorizations=[{**EVERYTHING, "channels": ["("]}]),
        encoded(authorizations=[{**EVERYTHING, "channels": [5]}]),
        encoded(authorizations=[{**EVERYTHING, "channels": "x"}]),
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_none_is_refused(answer: bytes) -> None:
    with pytest.raises(AuthAnswerError):
        decode_answer(answer, 0)


# Asking


class Client:
    """A connection to a broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def of(cls, node: Nsqd) -> AsyncIterator["Client"]:
        host, _, port = node.tcp_address.rpartition(":")
        client = cls(*await asyncio.open_connection(host, int(port)))
        try:
            client.writer.write(b"  V2")
            yield client
        finally:
            client.writer.transport.abort()

    async def ask(self, command: bytes) -> str:
        """Send a command and return what comes back."""
        self.writer.write(command)
        return await self.frame()

    async def frame(self) -> str:
        async with asyncio.timeout(SECONDS_MAX):
            size, _ = struct.unpack(">ii", await self._reader.readexactly(8))
            return (await self._reader.readexactly(size - 4)).decode("latin-1")

    async def authenticate(self, secret: bytes) -> str:
        return await self.ask(auth(secret))


def auth(secret: bytes) -> bytes:
    return b"AUTH\n" + struct.pack(">i", len(secret)) + secret


async def test_another_server_is_asked_when_one_is_down(cluster: Cluster) -> None:
    async with running_auth_server() as server:
        down = f"127.0.0.1:{free_port()}"
        node = await cluster.nsqd(
            f"--auth-http-address={down}", f"--auth-http-address={server.url}"
        )
        for _ in range(5):  # whichever comes first
            async with Client.of(node) as client:
                assert '"identity":"user:full"' in await client.authenticate(b"full")
        assert len(server.take_requests()) == 5


async def test_all_down_is_a_failure_without_a_reason(cluster: Cluster) -> None:
    node = await cluster.nsqd(f"--auth-http-address=127.0.0.1:{free_port()}")
    async with Client.of(node) as client:
        assert await client.authenticate(b"full") == "E_AUTH_FAILED AUTH failed"
        await node.wait_for_log("failed auth against 127.0.0.1:")


async def test_a_server_that_says_nothing_is_given_up(cluster: Cluster) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with stream_server(say_nothing) as address:
        node = await cluster.nsqd(
            f"--auth-http-address={address}", "--http-client-request-timeout=300ms"
        )
        async with Client.of(node) as client:
            assert await client.authenticate(b"full") == "E_AUTH_FAILED AUTH failed"


async def test_commands_behind_auth_wait_for_its_answer(cluster: Cluster) -> None:
    async with running_auth_server() as server:
        node = await cluster.nsqd(f"--auth-http-address={server.address}")
        async with Client.of(node) as client:
            answer = await client.ask(auth(b"full") + b"PUB t\n\0\0\0\1xSUB t ch\nNOP\nRDY 1\n")
            assert '"permission_count":1' in answer
            assert await client.frame() == "OK"
            assert await client.frame() == "OK"
            assert (await client.frame()).endswith("x")


async def test_a_half_closed_connection_gets_its_answers(cluster: Cluster) -> None:
    async with running_auth_server() as server:
        node = await cluster.nsqd(f"--auth-http-address={server.address}")
        async with Client.of(node) as client:
            client.writer.write(auth(b"full") + b"PUB t\n\0\0\0\1x")
            client.writer.write_eof()
            assert '"permission_count":1' in await client.frame()
            assert await client.frame() == "OK"
            with pytest.raises(asyncio.IncompleteReadError):
                await client.frame()


async def test_a_permission_that_was_taken_back_ends_with_its_ttl(cluster: Cluster) -> None:
    async with running_auth_server() as server:
        node = await cluster.nsqd(f"--auth-http-address={server.address}")
        async with Client.of(node) as client:
            assert '"permission_count":1' in await client.authenticate(b"short")
            server.revoked.add("short")
            assert await client.ask(b"PUB t\n\0\0\0\1x") == "OK"
            await asyncio.sleep(1.1)  # the ttl
            assert await client.ask(b"PUB t\n\0\0\0\1x") == "E_AUTH_FAILED AUTH failed"


async def test_the_secret_is_escaped_like_a_form(cluster: Cluster) -> None:
    async with running_auth_server() as server:
        node = await cluster.nsqd(f"--auth-http-address={server.address}")
        async with Client.of(node) as client:
            assert '"permission_count":1' in await client.authenticate(b"a b&c=%/~\xc3\xa9")
            (request,) = server.take_requests()
            assert request["path"] is not None
            assert "&secret=a+b%26c%3D%25%2F~%C3%A9&tls=false" in request["path"]


@pytest.mark.parametrize(("policy", "name"), [("require-verify", "worker"), ("require", "")])
async def test_tls_on_both_sides(cluster: Cluster, tmp_path: Path, policy: str, name: str) -> None:
    """The server is asked over TLS, and told that the client uses it, and who it verifiably is."""
    authority = Authority(tmp_path)
    identity = authority.server()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(identity.certificate, identity.key)
    async with running_auth_server(server_tls) as server:
        node = await cluster.nsqd(
            f"--auth-http-address={server.url}",
            f"--tls-cert={identity.certificate}",
            f"--tls-key={identity.key}",
            f"--tls-client-auth-policy={policy}",
            f"--tls-root-ca-file={authority.certificate}",
            "--tls-required=tcp-https",
            "--https-address=",
        )
        async with Client.of(node) as client:
            request = b'{"feature_negotiation":true,"tls_v1":true}'
            answer = await client.ask(b"IDENTIFY\n" + struct.pack(">i", len(request)) + request)
            assert '"auth_required":true' in answer
            await client.writer.start_tls(authority.client_context(authority.client("worker")))
            assert await client.frame() == "OK"
            assert '"permission_count":1' in await client.authenticate(b"full")
            (asked,) = server.take_requests()
            assert (
                asked["path"]
                == f"/auth?common_name={name}&remote_ip=127.0.0.1&secret=full&tls=true"
            )


async def test_an_answer_in_pieces_is_read_whole_and_secrets_are_not_logged(
    cluster: Cluster,
) -> None:
    body = json.dumps({"ttl": 60, "identity": "i" * 1000, "authorizations": [EVERYTHING]}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        asked.append(request.decode())
        if b"secret=bad" in request:
            writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nbad")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            for piece in (body[:10], body[10:700], body[700:]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
                # The next one begins a segment of its own.
                await asyncio.to_thread(lambda: None)

    asked: list[str] = []
    async with stream_server(answer) as address:
        node = await cluster.nsqd(f"--auth-http-address=http://user:pw@{address}/auth?key=KEY")
        async with Client.of(node) as client:
            assert "iiii" in await client.authenticate(b"good")
        async with Client.of(node) as client:
            assert await client.authenticate(b"bad") == "E_AUTH_FAILED AUTH failed"
        line = await node.wait_for_log("failed auth against")
    assert line.endswith("/auth - status 403, 3 bytes")
    assert "GET /auth?key=KEY&" in asked[0]
    assert not any("KEY" in line or "pw" in line for line in node.log)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("127.0.0.1:4181", "127.0.0.1:4181"),
        ("https://a.example/auth", "https://a.example/auth"),
        ("https://u:p@a.example:1/auth?key=k#x", "https://a.example:1/auth"),
        ("http://a?key=u@b", "http://a"),
    ],
)
def test_addresses_are_shown_without_what_is_secret(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
