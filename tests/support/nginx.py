"""Real nginx over the sites of ``deploy/nginx``, on free ports."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.nginx_sites import Site

__all__ = ["nginx_program", "running_nginx"]

START_SECONDS_MAX = 10.0


def nginx_program() -> str:
    """Where nginx is; skips the test if it is not here."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("there is no nginx here (Debian: nginx-light)")
    return found


@asynccontextmanager
async def running_nginx(folder: Path, site: Site) -> AsyncIterator[str]:
    """Run it over a site; yields ``https://host:port``."""
    command = (nginx_program(), "-p", str(folder), "-c", str(site.write(folder)))
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while not await _is_open(site.port):
                assert process.returncode is None, await _said(process)
        yield f"https://127.0.0.1:{site.port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        await asyncio.sleep(0.02)
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _said(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode()
