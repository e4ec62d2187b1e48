"""Background tasks: how they end is told."""

import asyncio
import io
from collections.abc import Iterator

import pytest

from nsqx.runtime import metrics
from nsqx.runtime.process import logs, tasks
from nsqx.runtime.process.logs import Level


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    output = io.StringIO()
    logs.setup("nsq", Level.INFO, "", output)
    yield output
    logs.setup("nsq", Level.INFO, "")


def crashes() -> float:
    lines = metrics.render(tasks.families()).decode().splitlines()
    return float(lines[-1].rpartition(" ")[2])


async def fail() -> None:
    raise UnicodeError("label empty or too long")


async def test_a_task_that_fails_is_logged_and_counted(log: io.StringIO) -> None:
    before = crashes()
    task = tasks.start(fail(), "statsd 127.0.0.1:8125")
    await tasks.wait(task)
    await asyncio.sleep(0)  # its callbacks run
    assert "ERROR: statsd 127.0.0.1:8125 ended by an error" in log.getvalue()
    assert "label empty" in log.getvalue()
    assert crashes() == before + 1


async def test_a_task_that_is_stopped_is_no_failure(log: io.StringIO) -> None:
    before = crashes()
    await tasks.stop(tasks.start(asyncio.Event().wait(), "waiter"))
    await tasks.stop(None)
    await asyncio.sleep(0)
    assert log.getvalue() == ""
    assert crashes() == before


async def test_what_nobody_caught_in_the_loop_is_in_the_log(log: io.StringIO) -> None:
    loop = asyncio.get_running_loop()
    tasks.handle_loop_errors(loop)
    before = crashes()
    loop.call_soon(lambda: 1 // 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "ZeroDivisionError" in log.getvalue()
    assert crashes() == before + 1
