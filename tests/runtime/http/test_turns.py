"""Requests that come at once share the turns of the loop with everybody else."""

import asyncio

from nsqx.runtime.http.turns import WOKEN_MAX, Turns

COUNT = 100
TURN_S = 5.0


class Crowd:
    """Requests that each take a while of a clock that only they move."""

    def __init__(self, took_s: float) -> None:
        self.now = 0.0
        self.took_s = took_s
        self.turns = Turns(TURN_S, lambda: self.now)
        self.began: list[int] = []
        self.other_turns = 0  # of the loop, in which somebody else did something

    async def request(self, number: int) -> None:
        await self.turns.enter()
        self.began.append(number)
        self.now += self.took_s

    async def run(self, count: int = COUNT) -> int:
        """Return the most that began between two turns of somebody else."""
        tasks = [asyncio.create_task(self.request(number)) for number in range(count)]
        most = before = 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            most, before = max(most, len(self.began) - before), len(self.began)
            self.other_turns += 1
        return most


async def test_those_that_take_long_are_spread_over_turns_in_their_order() -> None:
    crowd = Crowd(took_s=TURN_S / 2)
    assert await crowd.run() == 2
    assert crowd.began == list(range(COUNT))
    assert crowd.other_turns <= COUNT


async def test_one_that_takes_longer_than_a_turn_begins_all_the_same() -> None:
    crowd = Crowd(took_s=3 * TURN_S)
    assert await crowd.run() == 1
    assert crowd.began == list(range(COUNT))


async def test_those_that_take_nothing_wait_for_nothing() -> None:
    crowd = Crowd(took_s=0.0)
    assert await crowd.run() == COUNT


async def test_a_crowd_that_waits_goes_on_by_several_a_turn() -> None:
    crowd = Crowd(took_s=TURN_S / 2)
    running = asyncio.create_task(crowd.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    crowd.took_s = 0.0
    assert await running == WOKEN_MAX


async def test_who_is_gone_while_it_waits_stops_nobody() -> None:
    crowd = Crowd(took_s=TURN_S)
    tasks = [asyncio.create_task(crowd.request(number)) for number in range(50)]
    await asyncio.sleep(0)
    for task in tasks[1:49]:
        task.cancel()
    async with asyncio.timeout(10):
        await tasks[49]
    assert crowd.began == [0, 49]
