"""Daemons as real processes: signals, exit codes and the one line of a failed start."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, os, sys
from contextlib import asynccontextmanager
from nsqx.runtime.options import flags
from nsqx.runtime.process.run import run_daemon
from nsqx.protocol.errors import StartupError

@asynccontextmanager
async def daemon():
    if os.environ.get("MODE") == "fail":
        raise StartupError("failed to instantiate nsqd - it is broken")
    if os.environ.get("MODE") == "umask":
        print(oct(os.umask(0o077)), flush=True)
    print("ready", type(asyncio.get_running_loop()).__module__, flush=True)
    try:
        yield
    finally:
        if os.environ.get("MODE") == "hang":
            print("stopping", flush=True)
            await asyncio.Event().wait()
        print("stopped", flush=True)

os.umask(int(os.environ.get("UMASK", "022"), 8))
options = flags.parse(flags.DaemonOptions, sys.argv[1:], "nsqd", environ={})
sys.exit(run_daemon(daemon, options))
"""


started: list[asyncio.subprocess.Process] = []


async def start(*argv: str, **variables: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        *argv,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    started.append(process)
    return process


@pytest.fixture(autouse=True)
async def no_daemon_outlives_its_test() -> AsyncIterator[None]:
    yield
    while started:
        process = started.pop()
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_the_daemon_in_order(signum: signal.Signals) -> None:
    process = await start("--verbose")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready uvloop\n"
    process.send_signal(signum)
    output, errors = await process.communicate()
    assert output == b"stopped\n"
    assert process.returncode == 0
    assert b"WARNING: --verbose is accepted but has no effect" in errors
    assert f"INFO: received {signum.name}, stopping".encode() in errors


async def test_a_second_signal_ends_it_at_once() -> None:
    process = await start(MODE="hang")
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert await process.stdout.readline() == b"stopping\n"
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == -signal.SIGTERM


async def test_sighup_ends_nothing() -> None:
    process = await start()
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert b"INFO: received SIGHUP, going on" in await process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


async def test_the_service_manager_hears_that_it_is_ready_lives_and_stops(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        process = await start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="60000000")
        async with asyncio.timeout(30):
            assert await loop.sock_recv(manager, 100) == b"READY=1"
            assert await loop.sock_recv(manager, 100) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            assert await loop.sock_recv(manager, 100) == b"STOPPING=1"
        await process.communicate()


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["MODE=fail"], b"FATAL: failed to instantiate nsqd - it is broken\n"),
        (["--log-format=xml"], b"FATAL: invalid log format 'xml' (nsq, console, json)\n"),
    ],
)
async def test_a_failed_start_is_one_line_and_exit_code_1(argv: list[str], line: bytes) -> None:
    variables = dict(word.split("=") for word in argv if word.startswith("MODE="))
    options = [word for word in argv if not word.startswith("MODE=")]
    process = await start("--log-prefix=[me] ", *options, **variables)
    output, errors = await process.communicate()
    assert (process.returncode, output) == (1, b"")
    assert errors.startswith(b"[me] ")
    assert errors.endswith(line)
    assert errors.count(b"\n") == 1


async def test_words_that_are_no_options_are_refused_and_not_shown() -> None:
    process = await start("--verbose", "true", "--auth-http-address=http://a/?key=SECRET")
    output, errors = await process.communicate()
    assert (process.returncode, output) == (1, b"")
    assert b"2 words behind the options are not read" in errors
    assert b"SECRET" not in errors


@pytest.mark.parametrize(("given", "used"), [("022", b"0o27\n"), ("077", b"0o77\n")])
async def test_what_a_daemon_stores_is_not_for_everybody(given: str, used: bytes) -> None:
    process = await start(MODE="umask", UMASK=given)
    assert process.stdout is not None
    assert await process.stdout.readline() == used
    process.terminate()
    await process.communicate()
