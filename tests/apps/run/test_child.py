"""Children that die, hang and come back, played by scripts of a few lines."""

import asyncio
import sys

import pytest

from nsqx.apps.run.child import Child, ChildEndedError, Patience

SERVER = """
import signal, socket, sys
host, port = sys.argv[1].partition("=")[2].split(":")
server = socket.create_server((host, int(port)))
signal.signal(signal.SIGTERM, lambda *_: sys.exit({exit_code}))
{before}
print("[x] INFO: TCP: listening on %s:%d" % server.getsockname(), file=sys.stderr, flush=True)
signal.pause()
"""


class Lines:
    """Collects what is told, and wakes who waits for a line."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, name: str, line: str) -> None:
        self.told.append(f"{name}: {line}")
        task = asyncio.ensure_future(self._wake())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait_for(self, text: str, count: int = 1) -> None:
        async with self._changed, asyncio.timeout(20):
            await self._changed.wait_for(lambda: sum(text in line for line in self.told) >= count)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def script_child(
    lines: Lines, before: str = "", exit_code: int = 0, patience: Patience | None = None
) -> Child:
    script = SERVER.format(before=before, exit_code=exit_code)
    return Child("x", [sys.executable, "-c", script], {"TCP": "127.0.0.1:0"}, lines, patience)


async def test_it_is_ready_when_it_listens_and_its_port_is_known() -> None:
    child = script_child(Lines())
    await child.start()
    host, port = child.addresses["TCP"].split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    await writer.wait_closed()
    assert await child.stop(10)


async def test_death_before_it_is_ready_is_an_error_and_its_own_words_were_told() -> None:
    lines = Lines()
    child = script_child(lines, before='sys.exit("FATAL: no luck")')
    with pytest.raises(ChildEndedError, match="x ended with exit code 1"):
        await child.start()
    assert "x: FATAL: no luck" in lines.told


async def test_one_that_never_gets_ready_is_killed() -> None:
    patience = Patience(ready_max=0.2)
    with pytest.raises(ChildEndedError, match="x was ended by SIGKILL"):
        await script_child(Lines(), before="signal.pause()", patience=patience).start()


async def test_one_that_dies_later_comes_back_on_the_same_port() -> None:
    lines = Lines()
    child = script_child(lines, patience=Patience(backoff_min=0.01))
    await child.start()
    address = child.addresses["TCP"]
    keeping = asyncio.create_task(child.keep_running())
    child.kill()
    await lines.wait_for("x: is back")
    assert child.addresses["TCP"] == address
    assert "x: was ended by SIGKILL; starting it again in 0.01 s" in lines.told
    keeping.cancel()
    assert await child.stop(10)


async def test_one_that_keeps_dying_is_started_ever_later() -> None:
    lines = Lines()
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    child = Child("x", command, {"TCP": "x:0"}, lines, Patience(backoff_min=0.01, backoff_max=0.02))
    with pytest.raises(ChildEndedError):
        await child.start()
    keeping = asyncio.create_task(child.keep_running())
    await lines.wait_for("starting it again", count=3)
    keeping.cancel()
    told = [line for line in lines.told if "starting it again" in line]
    assert [line.split()[-2] for line in told[:3]] == ["0.01", "0.02", "0.02"]
    await child.stop(10)


async def test_one_that_ignores_sigterm_is_killed_and_that_is_not_in_order() -> None:
    lines = Lines()
    child = script_child(lines, before="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    await child.start()
    assert not await child.stop(0.1)
    assert "x: did not end in 0.1 s, killing it" in lines.told


async def test_another_exit_code_than_0_is_not_in_order() -> None:
    lines = Lines()
    child = script_child(lines, exit_code=4)
    await child.start()
    assert not await child.stop(10)
    assert "x: ended with exit code 4" in lines.told


async def test_stopping_what_never_started_is_in_order() -> None:
    assert await script_child(Lines()).stop(10)
