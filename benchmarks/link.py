"""
A blocking connection to a broker: connect, IDENTIFY, upgrade to TLS and snappy.

The methods that the hot loops call (``send``, ``receive``, ``receive_into``) are, without snappy,
the socket's own: no Python frame between the loop and the system call.
"""

import json
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import cramjam
import google_crc32c

from benchmarks.wire import (
    ERROR,
    FRAME_HEADER,
    HEARTBEAT_MS,
    MAGIC,
    OK_FRAME,
    BrokerError,
    identify,
)

TIMEOUT_SECONDS = 60.0  # a broker that says nothing for so long has failed
_RECEIVE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Target:
    """Where the broker listens and how to speak to it."""

    host: str
    port: int
    tls: bool = False
    snappy: bool = False
    heartbeat_ms: int = HEARTBEAT_MS


def _identify(target: Target) -> bytes:
    return identify(tls=target.tls, snappy=target.snappy, heartbeat_ms=target.heartbeat_ms)


class Link:
    """One connection, identified and upgraded."""

    def __init__(self, target: Target) -> None:
        sock = socket.create_connection((target.host, target.port), TIMEOUT_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(MAGIC + _identify(target))
        _require_granted(_read_frame(sock), target)
        if target.tls:
            sock = _upgrade_to_tls(sock)
            _expect_ok(_read_frame(sock))
        # A time limit makes Python poll() before every call. In the hot loops that would be half
        # of the generator's cost, so there the kernel keeps the limit.
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(TIMEOUT_SECONDS))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(TIMEOUT_SECONDS))
        self.socket = sock
        self.fileno: int = sock.fileno()
        self.send: Callable[[bytes | bytearray | memoryview], None] = sock.sendall
        self.receive: Callable[[int], bytes] = sock.recv
        self.receive_into: Callable[[memoryview], int] = sock.recv_into
        self.encode: Callable[[bytes], bytes] = _identity
        self.decoded_bytes: Callable[[], int] = _nothing_pending
        self.compressed = target.snappy
        if isinstance(sock, ssl.SSLSocket):
            self.decoded_bytes = sock.pending
        if target.snappy:
            self._use_snappy()

    def call(self, command: bytes) -> None:
        """Send a command and wait for its OK."""
        self.send(self.encode(command))
        answer = b""
        while len(answer) < len(OK_FRAME):
            piece = self.receive(len(OK_FRAME) - len(answer))
            if not piece:
                raise BrokerError(f"connection closed in answer to {command[:40]!r}")
            answer += piece
        if answer != OK_FRAME:
            raise BrokerError(f"{answer!r} in answer to {command[:40]!r}")

    def close(self) -> None:
        self.socket.close()

    def _use_snappy(self) -> None:
        codec = _SnappySocket(self.socket)
        self.receive = codec.receive
        self.receive_into = codec.receive_into
        self.encode = codec.encode
        self.decoded_bytes = codec.pending
        answer = codec.receive(len(OK_FRAME))
        _expect_ok(answer)


def readiness(filenos: list[int]) -> Callable[[], list[tuple[int, int]]]:
    """
    Return a function that waits until some of these can be read, as epoll does.

    A lone connection blocks in its read instead, which saves a system call per message.
    """
    if len(filenos) == 1:
        lone = [(filenos[0], select.EPOLLIN)]
        return lambda: lone
    epoll = select.epoll()
    for fileno in filenos:
        epoll.register(fileno, select.EPOLLIN)

    def wait() -> list[tuple[int, int]]:
        if events := epoll.poll(TIMEOUT_SECONDS):
            return events
        raise BrokerError(f"the broker said nothing for {TIMEOUT_SECONDS:.0f} s")

    return wait


class _SnappySocket:
    """Snappy's framing format over a socket. Check sums are written but, to be cheap, not read."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._raw = b""
        self._decoded = bytearray()
        self._opened = False

    def encode(self, data: bytes) -> bytes:
        """Chunks that stand for themselves, so that they can be made once and sent many times."""
        # The identifier may be repeated in the stream; it must come first.
        chunks = [] if self._opened else [b"\xff\x06\x00\x00sNaPpY"]
        self._opened = True
        for start in range(0, len(data), 65_536):
            block = data[start : start + 65_536]
            packed = bytes(cramjam.snappy.compress_raw(block))
            kind, payload = (0, packed) if len(packed) < len(block) else (1, block)
            header = ((len(payload) + 4) << 8 | kind).to_bytes(4, "little")
            chunks += (header, _masked_crc(block).to_bytes(4, "little"), payload)
        return b"".join(chunks)

    def receive(self, limit: int) -> bytes:
        while not self._decoded:
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                return b""
            self._decode(self._raw + data)
        result = bytes(self._decoded[:limit])
        del self._decoded[:limit]
        return result

    def receive_into(self, view: memoryview) -> int:
        data = self.receive(len(view))
        view[: len(data)] = data
        return len(data)

    def pending(self) -> int:
        return len(self._decoded)

    def _decode(self, data: bytes) -> None:
        position = 0
        while len(data) - position >= 4:
            size = int.from_bytes(data[position + 1 : position + 4], "little")
            end = position + 4 + size
            if end > len(data):
                break
            kind = data[position]
            if kind == 0:
                self._decoded += bytes(cramjam.snappy.decompress_raw(data[position + 8 : end]))
            elif kind == 1:
                self._decoded += data[position + 8 : end]
            elif kind < 0x80:
                raise BrokerError(f"unknown snappy chunk {kind:#x}")
            position = end
        self._raw = data[position:]


def _identity(data: bytes) -> bytes:
    return data


def _nothing_pending() -> int:
    return 0


def _masked_crc(data: bytes) -> int:
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _timeval(seconds: float) -> bytes:
    return int(seconds).to_bytes(8, "little") + bytes(8)


def _read_frame(sock: socket.socket) -> tuple[int, bytes]:
    """One frame and not a byte more: what follows may be in another encoding."""
    size, kind = FRAME_HEADER.unpack(_read_exactly(sock, FRAME_HEADER.size))
    return kind, _read_exactly(sock, size - 4)


def _read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise BrokerError("connection closed while identifying")
        data += piece
    return data


def _require_granted(answer: tuple[int, bytes], target: Target) -> None:
    kind, data = answer
    if kind == ERROR:
        raise BrokerError(data.decode(errors="replace"))
    granted = {} if data == b"OK" else json.loads(data)
    for wanted, name in ((target.tls, "tls_v1"), (target.snappy, "snappy")):
        if wanted and not granted.get(name):
            raise BrokerError(f"the broker does not grant {name}")


def _expect_ok(answer: tuple[int, bytes] | bytes) -> None:
    if answer not in (OK_FRAME, (0, b"OK")):
        raise BrokerError(f"{answer!r} instead of OK after an upgrade")


def _upgrade_to_tls(sock: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a benchmark's broker has a certificate of its own making
    return context.wrap_socket(sock)
