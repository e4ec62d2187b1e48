"""
What a generator must know of a broker's protocol: bytes to send, and how to count what comes back.

The generators are the same for all brokers. A speech gives them requests as bytes, built before the
clock starts, and a mark that each answer holds once: counting marks costs nanoseconds, parsing
would not.
"""

import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass

from benchmarks.payload import make_body
from benchmarks.wire import BrokerError

BODY_BYTES = 200
BODY = make_body(BODY_BYTES)
ANSWER_SECONDS = 30.0  # a broker that says nothing for so long has failed


@dataclass(frozen=True, slots=True)
class Answers:
    """
    ``mark`` is in every good answer once, ``end`` closes each; a failure is in none.

    What ends with ``end`` holds whole answers only, so nothing must be kept for the next read.
    """

    mark: bytes
    end: bytes
    failures: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """Bytes that publish a batch, and how many answers they get."""

    data: bytes
    answers: int


class Taker(ABC):
    """Takes and finishes messages on one connection: bytes in, bytes out."""

    @abstractmethod
    def start(self) -> bytes:
        """Return what asks for the first messages."""

    @abstractmethod
    def receive(self, data: bytes) -> tuple[int, bytes]:
        """Return how many messages ``data`` completes, and what finishes them and asks for more."""

    @abstractmethod
    def farewell(self) -> tuple[bytes, bytes]:
        """Return a request, and what its answer holds: when it comes, all is finished."""


class Speech(ABC):
    """One broker's protocol. Goes to the load processes, so it holds plain values only."""

    answers: Answers

    def prepare(self, connection: "Dialogue", *, memory: bool) -> None:  # noqa: B027 - by default
        """Make what messages are published to, where it does not come by itself."""

    def greet(self, connection: "Dialogue", index: int) -> None:  # noqa: B027 - nothing is to be said
        """Say what a new connection must say."""

    @abstractmethod
    def command(self, batch: int, index: int) -> Command:
        """Return what publishes ``batch`` messages on the connection with this number."""

    @abstractmethod
    def taker(self, connection: "Dialogue", index: int) -> Taker:
        """Subscribe; nothing is delivered before the taker's ``start``."""


class Dialogue:
    """A blocking connection, for what is said before and after the clock runs."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self.socket.close()

    def ask(self, request: bytes, expected: bytes) -> bytes:
        """
        Send, and read until ``expected`` has come.

        Raises:
            BrokerError: something else came, and then nothing, or the end.
        """
        self.socket.sendall(request)
        answer = b""
        while expected not in answer:
            try:
                piece = self.socket.recv(1 << 18)
            except TimeoutError:
                piece = b""
            if not piece:
                raise BrokerError(f"{answer[-200:]!r} in answer to {request[:60]!r}")
            # Messages may come before the answer: of those, only enough for a split one is kept.
            answer = answer[-4096:] + piece
        return answer
