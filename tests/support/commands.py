"""The ``nsqx`` command as a process that a test talks to by its standard streams."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support import fork_server

__all__ = ["Done", "nsqx", "running_nsqx"]

SECONDS_MAX = 60.0


@dataclass(slots=True)
class Done:
    """How a command ended, and all it wrote."""

    code: int
    out: str
    err: str


async def nsqx(*arguments: str, stdin: bytes = b"") -> Done:
    """Run ``nsqx`` with these arguments to its end."""
    async with running_nsqx(*arguments) as process, asyncio.timeout(SECONDS_MAX):
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def running_nsqx(*arguments: str) -> AsyncIterator[fork_server.Process]:
    """``nsqx`` with pipes for all three streams; killed and reaped if it runs at the end."""
    pipe = fork_server.PIPE
    process = await fork_server.start("nsqx.apps", *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.communicate()
