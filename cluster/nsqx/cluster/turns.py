"""
Many questions of one kind, so many of them at a time as a daemon and our own open files can take.

A question waits for its turn before it is asked, so its deadline is the daemon's alone.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from operator import itemgetter
from typing import TypeVar

__all__ = ["AT_ONCE", "in_turns"]

AT_ONCE = 50

Result = TypeVar("Result")


async def in_turns(asking: Iterable[Awaitable[Result]], at_once: int = AT_ONCE) -> list[Result]:
    """
    Return the answers in the order of the questions, which are taken one by one as turns come.

    The first exception is raised, and then nothing more is asked.
    """
    answers: dict[int, Result] = {}
    numbered = enumerate(asking)

    async def ask_on() -> None:
        for number, one in numbered:
            answers[number] = await one

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(ask_on())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [answer for _, answer in sorted(answers.items(), key=itemgetter(0))]
