"""The queue between connections and the user."""

import asyncio
from typing import Any

import pytest

from nsqx.client.inbox import Inbox, InboxClosedError
from nsqx.client.message import Message


def messages(count: int) -> list[Message]:
    source: Any = None
    return [Message(source, 0, 1, b"%016d" % number, b"x") for number in range(count)]


async def test_get_waits_for_a_message() -> None:
    inbox = Inbox()
    get = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    batch = messages(1)
    inbox.put_batch(batch)
    assert await get is batch[0]


async def test_each_waiter_gets_one() -> None:
    inbox = Inbox()
    gets = [asyncio.create_task(inbox.get()) for _ in range(3)]
    await asyncio.sleep(0)
    batch = messages(3)
    inbox.put_batch(batch)
    assert await asyncio.gather(*gets) == batch


async def test_a_waiter_cancelled_when_woken_passes_it_on() -> None:
    inbox = Inbox()
    first, second = asyncio.create_task(inbox.get()), asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    batch = messages(1)
    inbox.put_batch(batch)
    first.cancel()
    assert await second is batch[0]


async def test_closing_ends_waits_and_returns_the_rest() -> None:
    inbox = Inbox()
    get = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    assert inbox.close() == []
    with pytest.raises(InboxClosedError):
        await get
    inbox = Inbox()
    batch = messages(2)
    inbox.put_batch(batch)
    assert inbox.close() == batch


async def test_dropped_messages_are_not_handed_out() -> None:
    inbox = Inbox()
    batch = messages(3)
    inbox.put_batch(batch)
    inbox.drop({batch[1]})
    assert inbox.take_batch(10) == [batch[0], batch[2]]


async def test_what_is_at_hand_comes_first() -> None:
    inbox = Inbox()
    batch = messages(5)
    inbox.put_batch(batch[:3])
    assert not inbox.at_hand
    inbox.bring(2)
    assert [*inbox.at_hand] == batch[:2]
    inbox.put_batch(batch[3:])
    assert len(inbox) == 5
    assert inbox.drop({batch[0], batch[3]}) == [batch[0], batch[3]]
    assert await inbox.get() is batch[1]
    assert inbox.take_batch(10) == [batch[2], batch[4]]


async def test_all_may_be_at_hand() -> None:
    inbox = Inbox()
    inbox.all_at_hand = True
    batch = messages(3)
    inbox.put_batch(batch)
    assert [*inbox.at_hand] == batch
