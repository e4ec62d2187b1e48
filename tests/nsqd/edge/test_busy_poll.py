"""When the event loop goes on polling, and when it may sleep."""

import asyncio
from collections.abc import Callable
from typing import cast

from nsqx.nsqd.edge.busy_poll import CONNECTIONS_MAX, BusyPoll

DURATION_NS = 60_000


class Turns:
    """A loop that runs what is called soon once a turn, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.soon: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.later.append(call)

    def turn(self, duration_ns: int) -> None:
        self.now_ns += duration_ns
        calls, self.soon = self.soon, []
        for call in calls:
            call()


def poll_of(turns: Turns, duration_ns: int = DURATION_NS) -> BusyPoll:
    loop = cast(asyncio.AbstractEventLoop, turns)
    return BusyPoll(loop, duration_ns, clock=lambda: turns.now_ns)


def hear(poll: BusyPoll, connection: object) -> None:
    """What a connection does that received something."""
    if poll.is_on:
        poll.active.add(connection)
        poll.has_traffic = True
    elif poll.may_begin:
        poll.begin(connection)


def test_it_ends_when_nothing_has_come_for_its_duration() -> None:
    turns = Turns()
    poll = poll_of(turns)
    hear(poll, 1)
    turns.turn(DURATION_NS - 1)
    assert poll.is_on
    turns.turn(1)
    assert not poll.is_on
    assert not turns.soon
    assert poll.may_begin


def test_it_goes_on_as_long_as_one_connection_sends() -> None:
    turns = Turns()
    poll = poll_of(turns)
    hear(poll, 1)
    for _ in range(100):
        turns.turn(DURATION_NS // 2)
        hear(poll, 1)
    assert poll.is_on
    assert poll.active == {1}


def test_with_many_connections_it_stops_for_a_while() -> None:
    turns = Turns()
    poll = poll_of(turns)
    for connection in range(CONNECTIONS_MAX + 1):
        hear(poll, connection)
    turns.turn(1)
    assert not poll.is_on
    hear(poll, 0)
    assert not poll.is_on
    turns.later.pop()()
    hear(poll, 0)
    assert poll.is_on
    assert poll.active == {0}


def test_a_connection_that_is_silent_does_not_count_for_ever() -> None:
    turns = Turns()
    poll = poll_of(turns)
    hear(poll, 1)
    for _ in range(100):
        turns.turn(DURATION_NS // 2)
        hear(poll, 2)
    assert poll.is_on
    assert poll.active == {2}


def test_no_duration_is_no_polling() -> None:
    turns = Turns()
    poll = poll_of(turns, 0)
    hear(poll, 1)
    assert not poll.is_on
    assert not turns.soon
