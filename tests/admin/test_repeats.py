"""Requests with an idempotency key: once, also when they come together or fail."""

import asyncio

import pytest

from nsqx.admin.changed.runs import Repeats
from nsqx.admin.guard.gate import V2Error


class Work:
    """Something that must be done once. It ends when it may, by an error if there is one."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> bytes:
        self.begun += 1
        number = self.begun
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return b"%d" % number


async def test_who_comes_while_it_is_done_waits_for_it() -> None:
    repeats, work = Repeats(), Work()
    asked = [asyncio.create_task(repeats.once("u", "k", b"r", work)) for _ in range(3)]
    await asyncio.sleep(0)
    work.may_end.set()
    assert await asyncio.gather(*asked) == [b"1"] * 3
    assert await repeats.once("u", "k", b"r", work) == b"1"
    assert work.begun == 1


async def test_another_user_another_key_and_no_key_are_something_else() -> None:
    repeats, work = Repeats(), Work()
    work.may_end.set()
    answers = [
        await repeats.once(user, key, b"r", work)
        for user, key in (("u", "k"), ("v", "k"), ("u", "l"), ("u", ""), ("u", ""))
    ]
    assert answers == [b"1", b"2", b"3", b"4", b"5"]


async def test_a_key_of_another_request_is_refused() -> None:
    repeats, work = Repeats(), Work()
    work.may_end.set()
    await repeats.once("u", "k", b"r", work)
    with pytest.raises(V2Error) as raised:
        await repeats.once("u", "k", b"other", work)
    assert (raised.value.status, raised.value.code) == (409, "IDEMPOTENCY_KEY_REUSED")


async def test_what_failed_may_be_tried_again_and_nobody_waits_for_it() -> None:
    repeats, work = Repeats(), Work()
    work.error = V2Error(503, "NO_NODE")
    first = asyncio.create_task(repeats.once("u", "k", b"r", work))
    second = asyncio.create_task(repeats.once("u", "k", b"r", work))
    await asyncio.sleep(0)
    work.may_end.set()
    codes = []
    for task in (first, second):
        with pytest.raises(V2Error) as raised:
            await task
        codes.append(raised.value.code)
    assert codes == ["NO_NODE", "TRY_AGAIN"]
    work.error = None
    assert await repeats.once("u", "k", b"r", work) == b"2"


async def test_who_gives_up_waiting_does_not_end_the_work() -> None:
    repeats, work = Repeats(), Work()
    first = asyncio.create_task(repeats.once("u", "k", b"r", work))
    impatient = asyncio.create_task(repeats.once("u", "k", b"r", work))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    work.may_end.set()
    assert await first == b"1"
