"""Connections are taken a few at a time, and everything else has its turn in between."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from nsqx.net import acceptor
from nsqx.net.acceptor import ACCEPTED_PER_TURN, Acceptor

MANY = 10 * ACCEPTED_PER_TURN


class Served(asyncio.Protocol):
    """Notes in which turn it began."""

    def __init__(self, began: list[int], turn: list[int]) -> None:
        self._began, self._turn = began, turn
        self.transport: asyncio.BaseTransport
        self.has_begun = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._began.append(self._turn[0])
        self.transport = transport
        self.has_begun.set()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=MANY) as bound:
        yield bound


def connect(listener: socket.socket, count: int) -> ExitStack:
    """Connections that wait in the queue of the listener."""
    clients = ExitStack()
    for _ in range(count):
        clients.enter_context(socket.create_connection(listener.getsockname()))
    return clients


async def test_a_crowd_is_taken_in_many_turns(listener: socket.socket) -> None:
    began: list[int] = []
    turn = [0]
    served: list[Served] = []

    def make() -> Served:
        served.append(Served(began, turn))
        return served[-1]

    with connect(listener, MANY):
        accepting = Acceptor(make, listener)
        async with asyncio.timeout(20):
            while len(began) < MANY:
                turn[0] += 1
                await asyncio.sleep(0)
        await accepting.close()
    assert max(began.count(each) for each in began) <= 2 * ACCEPTED_PER_TURN
    for each in served:
        each.transport.abort()  # type: ignore[attr-defined]  # of a socket


async def test_who_was_accepted_when_it_closes_is_known(listener: socket.socket) -> None:
    began: list[int] = []
    served = Served(began, [0])
    with connect(listener, 1):
        accepting = Acceptor(lambda: served, listener)
        accepting._accept()
        assert not began
        await accepting.close()
        assert began == [0]
        served.transport.abort()  # type: ignore[attr-defined]  # of a socket
    assert listener.fileno() == -1


async def test_without_files_it_says_so_and_rests(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "SCARCE_SECONDS", 0.01)
    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: said.append(context))
    began: list[int] = []
    served = Served(began, [0])
    scarce = Scarce(listener)
    accepting = Acceptor(lambda: served, scarce)  # type: ignore[arg-type]  # as a socket is
    with connect(listener, 1):
        async with asyncio.timeout(20):
            await served.has_begun.wait()
    await accepting.close()
    served.transport.abort()  # type: ignore[attr-defined]  # of a socket
    (context,) = said
    assert context["message"] == "no connection can be accepted"


class Scarce:
    """A listener for which there is no file at its first connection."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._refused = False

    def accept(self) -> object:
        if not self._refused:
            self._refused = True
            raise OSError(errno.EMFILE, "too many open files")
        return self._listener.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._listener, name)
