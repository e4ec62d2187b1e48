"""The five minutes are run as they are written, on other ports."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.terminal import Terminal, steps

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text()


@asynccontextmanager
async def running_cluster(terminal: Terminal, command: str) -> AsyncIterator[None]:
    """``nsqx up``, on any ports; tells the terminal where the daemons are."""
    async with terminal.running(f"exec {command.strip()} --any-ports") as output:
        printed = ""
        while "nsqx pub" not in printed:
            line = await output.readline()
            assert line, printed
            printed += line.decode()
        tcp, http = re.findall(r"nsqd-1 +TCP (\S+) +HTTP (\S+)", printed)[0]
        (lookupd,) = re.findall(r"nsqlookupd +TCP \S+ +HTTP (\S+)", printed)
        terminal.real = {
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
    (_, up, _), *rest = steps(PAGE)
    async with running_cluster(terminal, up):
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
    async with running_cluster(terminal, up):
        waiting = "nsqx tail orders --channel billing --lookupd 127.0.0.1:4161 -n 1"
        assert await terminal.run(waiting) == '{"id": 5}\n'
