"""Questions that take turns."""

import asyncio

import pytest

from nsqx.cluster.turns import in_turns


class Daemon:
    """Answers when it is let, and counts who asks at the same time."""

    def __init__(self) -> None:
        self.asking = 0
        self.most = 0
        self.asked: list[int] = []

    async def ask(self, number: int) -> int:
        self.asked.append(number)
        self.asking += 1
        self.most = max(self.most, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1
        if number == 7:
            raise ConnectionError("number 7")
        return number


async def test_so_many_at_a_time_and_answers_in_order() -> None:
    daemon = Daemon()
    assert await in_turns(map(daemon.ask, range(100, 200)), at_once=3) == list(range(100, 200))
    assert daemon.most == 3


async def test_after_a_failure_nothing_more_is_asked() -> None:
    daemon = Daemon()
    with pytest.raises(ConnectionError, match="number 7"):
        await in_turns(map(daemon.ask, range(100)), at_once=2)
    assert max(daemon.asked) < 12
