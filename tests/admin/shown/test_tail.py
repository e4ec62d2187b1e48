"""A tail of messages that come as they are played: what it does with them, and where."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, Self, cast

import pytest

from nsqx.admin.shown.message_filter import Candidate, MessageFilter
from nsqx.admin.shown.tail import Tail, TailKey
from nsqx.client import Consumer


class PlayedMessage:
    id = b"0123456789abcdef"
    timestamp_ns = 1_000_000_000
    attempts = 1

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.is_finished = False

    def finish(self) -> None:
        self.is_finished = True


class PlayedConsumer:
    """Gives one batch."""

    def __init__(self, *bodies: bytes) -> None:
        self.messages = [PlayedMessage(body) for body in bodies]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def batches(self, **_: Any) -> AsyncIterator[list[PlayedMessage]]:
        yield self.messages


async def shown(consumer: PlayedConsumer, key: TailKey, **limits: float) -> dict[str, Any]:
    """Return the portion that the messages make."""
    told = asyncio.Event()
    tail = Tail(key, cast(Consumer, consumer), told.set, **limits)
    tail.take()  # that it runs
    async with asyncio.timeout(10):
        await told.wait()
    portion = tail.take()
    await tail.close()
    assert portion is not None
    return portion


async def test_expressions_run_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set[int]()
    lets_pass = MessageFilter.lets_pass

    def noted(self: MessageFilter, message: Candidate) -> bool:
        threads.add(threading.get_ident())
        return lets_pass(self, message)

    monkeypatch.setattr(MessageFilter, "lets_pass", noted)
    consumer = PlayedConsumer(b'{"x":1}', b'{"x":2}')
    portion = await shown(consumer, TailKey.parse("tail:t?where=body.x==`2`"))
    assert [row.body for row in portion["messages"]] == ['{"x":2}']
    assert (portion["seen"], portion["dropped"]) == (2, 0)
    assert threads
    assert threading.get_ident() not in threads


async def test_what_there_is_no_time_for_is_counted() -> None:
    consumer = PlayedConsumer(b'{"x":1}', b'{"x":2}')
    key = TailKey.parse("tail:t?where=body.x")
    portion = await shown(consumer, key, expression_s_max=0.0)
    assert (portion["messages"], portion["seen"], portion["dropped"]) == ([], 2, 2)
    assert all(message.is_finished for message in consumer.messages)


async def test_a_text_needs_no_time() -> None:
    key = TailKey.parse("tail:t?filter=two")
    portion = await shown(PlayedConsumer(b"one", b"two"), key, expression_s_max=0.0)
    assert [row.body for row in portion["messages"]] == ["two"]
