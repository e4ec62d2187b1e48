"""The five minutes are run as they are written, on other ports."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text()
BLOCK = re.compile(r"^```(sh|text|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS_MAX = 60.0


def steps() -> list[tuple[str, str, str]]:
    """Every block to be run, as (language, text, what it prints)."""
    found: list[tuple[str, str, str]] = []
    for language, text in BLOCK.findall(PAGE):
        if language == "text":
            *before, (kind, command, _) = found
            found = [*before, (kind, command, text)]
        else:
            found.append((language, text, ""))
    return found


class Terminal:
    """Runs commands in a folder, with the addresses of the page exchanged for the real ones."""

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

    @asynccontextmanager
    async def cluster(self, command: str) -> AsyncIterator[None]:
        """``nsqx up``, on any ports; learns where the daemons are."""
        async with self.running(f"exec {command.strip()} --any-ports") as output:
            printed = ""
            while "nsqx pub" not in printed:
                line = await output.readline()
                assert line, printed
                printed += line.decode()
            tcp, http = re.findall(r"nsqd-1 +TCP (\S+) +HTTP (\S+)", printed)[0]
            (lookupd,) = re.findall(r"nsqlookupd +TCP \S+ +HTTP (\S+)", printed)
            self.real = {
                "127.0.0.1:4150": tcp,
                "127.0.0.1:4151": http,
                "127.0.0.1:4161": lookupd,
            }
            yield


@pytest.mark.timeout(180)
async def test_five_minutes(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    terminal = Terminal(tmp_path)
    (_, up, _), *rest = steps()
    async with terminal.cluster(up):
        for language, text, printed in rest:
            if language == "python":
                (tmp_path / "app.py").write_text(terminal.rewritten(text))
            elif "worker" in text:
                async with terminal.running(f"exec {text.strip()}") as output:
                    lines = [await output.readline() for _ in printed.splitlines()]
                assert b"".join(lines).decode() == printed
            else:
                said = await terminal.run(text)
                assert printed in ("", said if said.endswith("\n") else f"{said}\n"), text
    async with terminal.cluster(up):
        waiting = "nsqx tail orders --channel billing --lookupd 127.0.0.1:4161 -n 1"
        assert await terminal.run(waiting) == '{"id": 5}\n'
