"""
The load, the same for every broker: processes of their own, closed loops, no parsing of answers.

A publisher keeps ``window`` commands unconfirmed on each connection, for ``seconds`` or until
``messages`` are sent, and waits for the last answer. Takers end when all was taken and the broker
has answered a last request behind the last acknowledgement.
"""

import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from benchmarks.link import readiness
from benchmarks.peers.speech import ANSWER_SECONDS, Command, Dialogue, Speech, Taker
from benchmarks.wire import BrokerError
from benchmarks.worker import Outcome, Pipe

_RECEIVE_BYTES = 1 << 18
_ANSWER_BYTES = 1 << 16
_TIMEVAL = struct.Struct("@ll")

Takers = dict[int, tuple[socket.socket, Taker]]


@dataclass(frozen=True, slots=True)
class PublishLoad:
    port: int
    speech: Speech
    batch: int
    connections: int
    window: int
    messages: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TakeLoad:
    port: int
    speech: Speech
    connections: int
    messages: int


def publish(load: PublishLoad, pipe: Pipe) -> Outcome:
    """Run in a process of its own. Returns when the last answer has arrived."""
    with ExitStack() as stack:
        lines = []
        for index in range(load.connections):
            dialogue = stack.enter_context(closing(Dialogue(load.port)))
            load.speech.greet(dialogue, index)
            lines.append(_Line(load, index, _hot(dialogue)))
        return _pump(load, lines, pipe)


def _pump(load: PublishLoad, lines: "list[_Line]", pipe: Pipe) -> Outcome:
    by_fileno = {line.fileno: line for line in lines}
    ready = readiness(list(by_fileno))
    commands = -(-load.messages // load.batch)
    pipe.wait_for_go()
    started_ns, cpu_started_ns = time.monotonic_ns(), time.process_time_ns()
    deadline_ns = started_ns + int(load.seconds * 1e9)
    sent = confirmed = 0
    for line in lines:
        sent += line.send(min(load.window, commands - sent))
    while confirmed < sent:
        for fileno, _ in ready():
            line = by_fileno[fileno]
            count = line.confirmations()
            confirmed += count
            if count and sent < commands:
                sent += line.send(min(count, commands - sent))
        if time.monotonic_ns() > deadline_ns:
            commands = sent
    return _outcome(confirmed * load.batch, started_ns, cpu_started_ns)


class _Line:
    """A publisher's connection. ``send`` and ``confirmations`` are the hot path."""

    def __init__(self, load: PublishLoad, index: int, sock: socket.socket) -> None:
        self.fileno = sock.fileno()
        self._socket = sock
        command: Command = load.speech.command(load.batch, index)
        whole = memoryview(command.data * load.window)
        size = len(command.data)
        self._bursts = [whole[: size * count] for count in range(load.window + 1)]
        self._answers = command.answers
        self._expected = load.speech.answers
        self._keep = len(self._expected.mark) - 1
        self._rest = b""
        self._marks = 0

    def send(self, count: int) -> int:
        if count:
            self._socket.sendall(self._bursts[count])
        return count

    def confirmations(self) -> int:
        """Read once and return how many commands have all their answers now."""
        data = self._socket.recv(_ANSWER_BYTES)
        if not data:
            raise BrokerError("the broker closed a publisher's connection")
        if self._rest:
            data = self._rest + data
        expected = self._expected
        mark = expected.mark
        marks = data.count(mark)
        if marks != 1:  # one answer alone, as it comes one by one, is no failure
            for failure in expected.failures:
                if failure in data:
                    raise BrokerError(data[:200].decode(errors="replace"))
        # Too short for a whole mark, so none is counted twice.
        self._rest = b"" if data.endswith(expected.end) else data[max(0, len(data) - self._keep) :]
        commands, self._marks = divmod(self._marks + marks, self._answers)
        return commands


def take(load: TakeLoad, pipe: Pipe) -> Outcome:
    """Run in a process of its own. Subscribes, and asks for messages when told to go."""
    with ExitStack() as stack:
        dialogues = []
        takers: Takers = {}
        for index in range(load.connections):
            dialogue = stack.enter_context(closing(Dialogue(load.port)))
            dialogues.append(dialogue)
            load.speech.greet(dialogue, index)
            taker = load.speech.taker(dialogue, index)
            takers[dialogue.socket.fileno()] = (_hot(dialogue), taker)
        ready = readiness(list(takers))
        pipe.wait_for_go()
        started_ns, cpu_started_ns = time.monotonic_ns(), time.process_time_ns()
        _take_all(load.messages, takers, ready)
        for dialogue, (_, taker) in zip(dialogues, takers.values(), strict=True):
            dialogue.ask(*taker.farewell())
        return _outcome(load.messages, started_ns, cpu_started_ns)


def _take_all(messages: int, takers: Takers, ready: Callable[[], list[tuple[int, int]]]) -> None:
    left = messages
    for sock, taker in takers.values():
        sock.sendall(taker.start())
    while left > 0:
        for fileno, _ in ready():
            sock, taker = takers[fileno]
            data = sock.recv(_RECEIVE_BYTES)
            if not data:
                raise BrokerError("the broker closed a taker's connection")
            count, output = taker.receive(data)
            if output:
                sock.sendall(output)
            left -= count


def _outcome(messages: int, started_ns: int, cpu_started_ns: int) -> Outcome:
    ended_ns = time.monotonic_ns()
    return Outcome(messages, started_ns, ended_ns, time.process_time_ns() - cpu_started_ns)


def _hot(dialogue: Dialogue) -> socket.socket:
    """Let the kernel keep the time limit: Python's would be a poll() before every call."""
    sock = dialogue.socket
    sock.settimeout(None)
    limit = _TIMEVAL.pack(int(ANSWER_SECONDS), 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    return sock
