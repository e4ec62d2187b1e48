"""The benchmark of how long the event loop is held, small: that each step is done and measured."""

import asyncio
import json
import time

import pytest

from benchmarks import holds


def test_every_step_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = str(tmp_path_factory.mktemp("node"))
    assert holds.main(["--channels=20", "--json", "--directory", folder]) == 0
    longest = json.loads(capsys.readouterr().out)
    assert len(longest) == 7
    assert all(milliseconds > 0 for milliseconds in longest.values()), longest


def test_the_longest_step_is_found() -> None:
    def work() -> None:
        end = time.thread_time() + 0.03
        while time.thread_time() < end:
            pass

    async def steps() -> None:
        asyncio.get_running_loop().call_soon(work)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with holds.measured() as found:
        asyncio.run(steps())
    assert found.longest_s >= 0.03
    assert "work" in found.longest
