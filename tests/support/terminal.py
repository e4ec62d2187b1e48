"""Commands of the documentation, run as they stand there but for the addresses and paths."""

import asyncio
import os
import re
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["Terminal", "steps"]

# In a list they are indented.
BLOCK = re.compile(r"^( *)```(sh|text|python)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SECONDS_MAX = 60.0


def steps(page: str) -> list[tuple[str, str, str]]:
    """Every block of shell or Python, as (language, text, what the ``text`` behind it says)."""
    found: list[tuple[str, str, str]] = []
    for _, language, indented in BLOCK.findall(page):
        text = textwrap.dedent(indented)
        if language == "text":
            *before, (kind, command, _) = found
            found = [*before, (kind, command, text)]
        else:
            found.append((language, text, ""))
    return found


class Terminal:
    """
    Runs commands in a folder.

    Attributes:
        real: what is put in the place of addresses and paths of a page.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.real: dict[str, str] = {}

    def rewritten(self, text: str) -> str:
        for usual, real in self.real.items():
            text = text.replace(usual, real)
        return text

    async def start(self, command: str) -> asyncio.subprocess.Process:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return await asyncio.create_subprocess_exec(
            "sh",
            "-euc",
            self.rewritten(command),
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def run(self, command: str) -> str:
        """Run it to its end, which must be a good one; return what it printed."""
        process = await self.start(command)
        async with asyncio.timeout(SECONDS_MAX):
            output, _ = await process.communicate()
        assert process.returncode == 0, command
        return output.decode()

    @asynccontextmanager
    async def running(self, command: str) -> AsyncIterator[asyncio.StreamReader]:
        """Run it while the block lasts, then press Ctrl-C; yields what it prints."""
        process = await self.start(command)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(SECONDS_MAX):
                yield process.stdout
                os.killpg(process.pid, signal.SIGINT)
                await process.communicate()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
