import asyncio
import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from nsqx.net.addresses import (
    AddressError,
    TcpAddress,
    UnixAddress,
    bind,
    bind_shared,
    host_text,
    listen_on,
    parse_address,
    remove_socket_file,
    serve,
    socket_text,
)
from nsqx.protocol.errors import StartupError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:4150", TcpAddress("127.0.0.1", 4150)),
        ("localhost:0", TcpAddress("localhost", 0)),
        (":4150", TcpAddress("", 4150)),
        ("[::1]:4150", TcpAddress("::1", 4150)),
        ("/run/nsqd.sock", UnixAddress("/run/nsqd.sock")),
        ("/run/a:1/nsqd.sock", UnixAddress("/run/a:1/nsqd.sock")),
        ("nsqd.sock", UnixAddress("nsqd.sock")),
    ],
)
def test_addresses_are_read(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_address(text) == address
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the address is empty"),
        ("a:b:1", "address a:b:1: too many colons in address"),
        ("::1", "address ::1: too many colons in address"),
        ("[::1]", "address [::1]: missing port in address"),
        ("[::1", "address [::1: missing ']' in address"),
        ("a:x", "address a:x: invalid port 'x' (0 to 65535)"),
        ("a:65536", "address a:65536: invalid port '65536' (0 to 65535)"),
        ("a:-1", "address a:-1: invalid port '-1' (0 to 65535)"),
        ("a:", "address a:: invalid port '' (0 to 65535)"),
    ],
)
def test_what_is_no_address_is_explained(text: str, message: str) -> None:
    with pytest.raises(AddressError) as raised:
        parse_address(text)
    assert str(raised.value) == message


def test_names_of_sockets() -> None:
    assert socket_text(("127.0.0.1", 5)) == "127.0.0.1:5"
    assert socket_text(("::1", 5, 0, 0)) == "[::1]:5"
    assert socket_text("/run/x") == "/run/x"
    assert socket_text("") == socket_text(None) == "@"


def test_a_taken_port_is_one_sentence_with_the_next_step() -> None:
    with bind(TcpAddress("127.0.0.1", 0), "--tcp-address") as first:
        address = socket_text(first.getsockname())
        with pytest.raises(StartupError) as raised:
            listen_on(address, "--tcp-address")
    assert raised.value.message == (
        f"listen ({address}) failed - address already in use;"
        " stop the program that has it or choose another (--tcp-address)"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nosuch.invalid:0", "the host name is not known"),
        ("192.0.2.1:0", "no interface of this machine has that address"),
        ("/nosuch/folder/x.sock", "the folder of the socket does not exist"),
        ("a:x", "invalid port"),
    ],
)
def test_failures_to_listen_are_explained(text: str, reason: str) -> None:
    with pytest.raises(StartupError) as raised:
        listen_on(text, "--http-address")
    assert raised.value.message.startswith(f"listen ({text}) failed - ")
    assert reason in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("text", [":0", "0.0.0.0:0", "[::]:0"])
def test_all_interfaces_are_those_of_both_families(text: str) -> None:
    with listen_on(text, "--tcp-address") as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        socket.create_connection(("::1", port), timeout=5).close()


def test_a_shared_wildcard_is_of_both_families_too() -> None:
    with bind_shared(":0", "--tcp-address") as first:
        port = first.getsockname()[1]
        with bind_shared(f"0.0.0.0:{port}", "--tcp-address") as second:
            with pytest.raises(ConnectionRefusedError):  # none of them listens yet
                socket.create_connection(("127.0.0.1", port), timeout=5)
            second.listen()
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            socket.create_connection(("::1", port), timeout=5).close()


@pytest.mark.parametrize("listen", [listen_on, bind_shared])
def test_all_interfaces_are_those_of_ipv4_where_ipv6_is_turned_off(
    listen: Callable[[str, str], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithoutIpv6(socket.socket):
        def bind(self, address: Any, /) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", WithoutIpv6)
    with listen(":0", "--tcp-address") as bound:
        assert bound.family == socket.AF_INET


def test_an_ipv4_peer_of_a_listener_of_both_families_keeps_its_name() -> None:
    assert host_text("::ffff:10.0.0.1") == "10.0.0.1"
    assert host_text("::1") == "::1"
    assert socket_text(("::ffff:10.0.0.1", 5, 0, 0)) == "10.0.0.1:5"


def test_connections_whose_peer_is_gone_are_found() -> None:
    with (
        listen_on("127.0.0.1:0", "--tcp-address") as listener,
        socket.create_connection(listener.getsockname()),
    ):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 15


def test_the_file_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    listen_on(path, "--http-address").close()  # as if killed: the file stays
    assert Path(path).exists()
    with listen_on(path, "--http-address") as listener:
        remove_socket_file(listener)
    assert not Path(path).exists()


def test_the_file_of_a_living_daemon_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    with listen_on(path, "--http-address"), pytest.raises(StartupError, match="in use"):
        listen_on(path, "--http-address")


def test_a_file_that_is_no_socket_is_not(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(StartupError):
        listen_on(str(path), "--http-address")
    assert path.read_text() == "data"


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_serving_a_listener(kind: str, tmp_path: Path) -> None:
    class Greeter(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            stream = cast(asyncio.Transport, transport)  # uvloop's is no subclass
            stream.write(b"hello")
            stream.close()

    listener = listen_on("127.0.0.1:0" if kind == "tcp" else str(tmp_path / "x"), "--tcp-address")
    name = listener.getsockname()
    server = serve(Greeter, listener)
    if kind == "tcp":
        reader, writer = await asyncio.open_connection(*name)
    else:
        reader, writer = await asyncio.open_unix_connection(name)
    assert await reader.read() == b"hello"
    writer.close()
    await server.close()


def test_ipv4_peer_of_a_dual_stack_listener_is_shown_as_ipv4() -> None:
    assert socket_text(("::ffff:127.0.0.1", 5000, 0, 0)) == "127.0.0.1:5000"
    assert socket_text(("::1", 5000, 0, 0)) == "[::1]:5000"
