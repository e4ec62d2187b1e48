"""Who reads much waits, and goes on in its order."""

import asyncio

from nsqx.net.reading_turn import RESUMED_PER_TURN, ReadingTurn


class Connection:
    """One that notes whether it is read."""

    def __init__(self) -> None:
        self.is_read = True

    def wait_for_turn(self) -> None:
        self.is_read = False

    def go_on(self) -> None:
        self.is_read = True


async def test_what_takes_little_is_read_on() -> None:
    turn, connection = ReadingTurn(10), Connection()
    for _ in range(10):
        turn.spend(connection, 1)
    assert connection.is_read


async def test_those_behind_the_time_of_a_turn_go_on_a_few_in_each_of_the_next() -> None:
    turn = ReadingTurn(10)
    first, *others = [Connection() for _ in range(2 * RESUMED_PER_TURN + 1)]
    for each in (first, *others):
        turn.spend(each, 10)
    assert [each.is_read for each in (first, *others)] == [True] + [False] * len(others)
    await asyncio.sleep(0)
    assert [each.is_read for each in others] == [True] * RESUMED_PER_TURN + (
        [False] * RESUMED_PER_TURN
    )
    await asyncio.sleep(0)
    assert all(each.is_read for each in others)


async def test_each_turn_has_its_own_time() -> None:
    turn, connection = ReadingTurn(10), Connection()
    for _ in range(3):
        turn.spend(connection, 9)
        assert connection.is_read
        await asyncio.sleep(0)
