"""
Python programs that start at once: forked from a process that has imported them already.

Importing costs a daemon half a second of processor time, and the tests start thousands. A program
that is started here is a process of its own all the same, with its own pid, memory, descriptors,
signals, and exit code; only ``/proc/PID/cmdline`` is the fork server's. How a program starts from
nothing is for tests that run the interpreter (`tests.nsqd.test_daemon_cli` and others).

    process = await start("nsqx.nsqd", "--tcp-address=127.0.0.1:0", stderr=PIPE)

One server per process that runs tests, started by the first program. When that process ends,
however it ends, the server ends and kills whatever it had started.
"""

import asyncio
import atexit
import contextlib
import gc
import json
import os
import random
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, NoReturn

__all__ = ["PIPE", "BlockingProcess", "Process", "popen", "run", "start"]

PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
# What is imported before anything is forked: what the programs import at once, and what they only
# do when they run.
PROGRAMS = (
    "encodings.idna",
    "importlib.resources.readers",
    "uvloop",
    "nsqx.runtime.process.early",
    "nsqx.nsqd.daemon",
    "nsqx.nsqd.http.api",
    "nsqx.lookupd.daemon",
    "nsqx.admin.daemon",
    "nsqx.runtime.process.run",
    "nsqx.apps.cli",
)
COMMANDS = "nsqx.apps"  # each command is imported when it is called
REQUEST_BYTES_MAX = 1 << 20
STREAM_LIMIT_BYTES = 1 << 20
_ENDED = 4  # bytes: an exit code, as subprocess counts


class Process:
    """
    A program that was started: the part of ``asyncio.subprocess.Process`` that tests use.

    Attributes:
        pid: of the process.
        returncode: its exit code, below 0 for a signal; None while it runs.
        stdin, stdout, stderr: the streams that were asked for as ``PIPE``.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self.stdout_transport: asyncio.ReadTransport | None = None
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """Return the exit code when it has ended."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self, data: bytes | None = None) -> tuple[bytes, bytes]:
        """Write ``data``, read both streams to their ends, and wait for the process."""
        _, out, err, _ = await asyncio.gather(
            self._feed(data), _read(self.stdout), _read(self.stderr), self.wait()
        )
        return out, err

    def close_stdout(self) -> None:
        """Be a reader that goes away."""
        assert self.stdout_transport is not None
        self.stdout_transport.close()

    def send_signal(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def note_end(self, code: int) -> None:
        """Take the exit code that the server told."""
        self.returncode = code
        self._ended.set()

    async def _feed(self, data: bytes | None) -> None:
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if data:
                    self.stdin.write(data)
                    await self.stdin.drain()
                self.stdin.close()
                await self.stdin.wait_closed()


class BlockingProcess:
    """
    A program that was started: the part of ``subprocess.Popen`` that tests use.

    Attributes:
        pid: of the process.
        returncode: its exit code, below 0 for a signal; None until it was waited for.
        stdin, stdout, stderr: its streams.
    """

    def __init__(self, pid: int, pipes: Sequence[int], end_read: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        stdin, stdout, stderr = pipes
        self.stdin: BinaryIO = os.fdopen(stdin, "wb")
        self.stdout: BinaryIO = os.fdopen(stdout, "rb")
        self.stderr: BinaryIO = os.fdopen(stderr, "rb")
        self._end_read = end_read

    def communicate(self, data: bytes = b"", timeout: float = 60.0) -> tuple[bytes, bytes]:
        """Write ``data``, read both streams to their ends, and wait for the process."""
        with ThreadPoolExecutor(3) as threads:
            feeding = threads.submit(self._feed, data)
            out, err = threads.submit(self.stdout.read), threads.submit(self.stderr.read)
            try:
                self.wait(timeout)
            except TimeoutError:
                self.kill()  # or the threads would not end
                raise
            feeding.result()
            return out.result(), err.result()

    def wait(self, timeout: float = 60.0) -> int:
        """Return the exit code when it has ended."""
        if self.returncode is None:
            if not select.select([self._end_read], [], [], timeout)[0]:
                raise TimeoutError(f"{self.pid} does not end")
            self.returncode = _told_code(self._end_read)
            os.close(self._end_read)
        return self.returncode

    def send_signal(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill it if it runs, and close its streams."""
        self.kill()
        self.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _feed(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(data)
            self.stdin.close()


async def start(
    module: str,
    *arguments: str,
    stdin: int = DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Process:
    """
    Start ``python -m module arguments`` and return it.

    Args:
        stdin, stdout, stderr: as for ``asyncio.create_subprocess_exec``: ``PIPE``, ``DEVNULL``,
            ``STDOUT``, a descriptor, or None for that of the tests.
    """
    pid, pipes, end_read = _fork(module, arguments, (stdin, stdout, stderr))
    process = Process(pid)
    await _attach(process, pipes, end_read)
    return process


def popen(module: str, *arguments: str) -> "BlockingProcess":
    """Start ``python -m module arguments`` with three pipes, for who has no event loop."""
    pid, pipes, end_read = _fork(module, arguments, (PIPE, PIPE, PIPE))
    return BlockingProcess(pid, [each for each in pipes if each is not None], end_read)


def _fork(
    module: str, arguments: Sequence[str], streams: Sequence[int | None]
) -> tuple[int, list[int | None], int]:
    """Return the pid, our ends of the streams that are pipes, and where its end is told."""
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        null = os.open(os.devnull, os.O_RDWR)
        theirs.callback(os.close, null)
        pipes: list[int | None] = []
        given: list[int] = []
        for number, wanted in enumerate(streams):
            mine, its = _ends(number, wanted, null, given)
            pipes.append(mine)
            if mine is not None:
                ours.callback(os.close, mine)
                theirs.callback(os.close, its)
            given.append(its)
        end_read, end_write = os.pipe()
        ours.callback(os.close, end_read)
        theirs.callback(os.close, end_write)
        pid = _server().fork(module, arguments, [*given, end_write])
        ours.pop_all()
    return pid, pipes, end_read


def run(
    module: str, *arguments: str, stdin: str = "", seconds_max: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """
    Run ``python -m module arguments`` to its end, as ``subprocess.run`` with captured text does.

    Raises:
        TimeoutError: it did not end in time, and was killed.
    """

    async def whole() -> subprocess.CompletedProcess[str]:
        process = await start(module, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        try:
            async with asyncio.timeout(seconds_max):
                out, err = await process.communicate(stdin.encode())
        finally:
            process.kill()
        code = await process.wait()
        return subprocess.CompletedProcess([module, *arguments], code, out.decode(), err.decode())

    return asyncio.run(whole())


def _ends(
    number: int, wanted: int | None, null: int, given: Sequence[int]
) -> tuple[int | None, int]:
    """Return our end of a stream if it is a pipe, and the program's."""
    if wanted == PIPE:
        read, write = os.pipe()
        return (write, read) if number == 0 else (read, write)
    if wanted == subprocess.STDOUT:
        return None, given[1]
    if wanted == DEVNULL:
        return None, null
    return None, number if wanted is None else wanted


async def _attach(process: Process, pipes: Sequence[int | None], end_read: int) -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(end_read, _note_end, loop, process, end_read)
    stdin, stdout, stderr = pipes
    if stdin is not None:
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(stdin, "wb", 0)
        )
        process.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
    if stdout is not None:
        process.stdout_transport, process.stdout = await _reader(loop, stdout)
    if stderr is not None:
        _, process.stderr = await _reader(loop, stderr)


async def _reader(
    loop: asyncio.AbstractEventLoop, pipe: int
) -> tuple[asyncio.ReadTransport, asyncio.StreamReader]:
    reader = asyncio.StreamReader(STREAM_LIMIT_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(pipe, "rb", 0))
    return transport, reader


def _note_end(loop: asyncio.AbstractEventLoop, process: Process, end_read: int) -> None:
    code = _told_code(end_read)
    loop.remove_reader(end_read)
    os.close(end_read)
    process.note_end(code)


def _told_code(end_read: int) -> int:
    told = os.read(end_read, _ENDED)
    # Nothing is told when the server itself is gone, and then it has killed all it had.
    return int.from_bytes(told, "big", signed=True) if told else -signal.SIGKILL


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()


class _Server:
    """The fork server as the tests see it."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def fork(self, module: str, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
        """Have a program started, and return its pid."""
        request = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(os.environ),
            "folder": os.getcwd(),
        }
        with self._one_at_a_time:
            socket.send_fds(self._socket, [json.dumps(request).encode()], list(descriptors))
            answer = self._socket.recv(REQUEST_BYTES_MAX)
        assert answer, "the fork server has ended; its error is above"
        return int(answer)

    def close(self) -> None:
        """Let it end: nobody asks any more."""
        self._socket.close()
        self._process.wait()


_servers: dict[int, _Server] = {}


def _server() -> _Server:
    """Return that of this process; a fork of it must not talk in its name."""
    if (server := _servers.get(os.getpid())) is None:
        server = _servers[os.getpid()] = _Server()
        atexit.register(server.close)
    return server


# What follows runs in the server.


def serve(requests: socket.socket) -> None:
    """Fork what is asked for until nobody asks any more."""
    ends: dict[int, int] = {}
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is woken:
                        woken.recv(4096)
                        _reap(ends)
                    elif not _answer(requests, ends):
                        return
        finally:
            for pid in ends:
                os.kill(pid, signal.SIGKILL)


def _answer(requests: socket.socket, ends: dict[int, int]) -> bool:
    request, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES_MAX, 4)
    if not request:
        return False
    *streams, end = descriptors
    pid = os.fork()
    if pid == 0:
        _become(json.loads(request), streams)
    for stream in streams:
        os.close(stream)
    ends[pid] = end
    requests.send(str(pid).encode())
    return True


def _reap(ends: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            pid, status = ended
            code = os.waitstatus_to_exitcode(status)
            end = ends.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(end, code.to_bytes(_ENDED, "big", signed=True))
            os.close(end)


def _become(request: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Be the program that was asked for, and end with it."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        random.seed()
        sys.argv = [request["module"], *request["arguments"]]
        code = _run(request["module"])
    finally:
        os._exit(code)


def _run(module: str) -> int:
    """Run the module as ``python -m`` does, to the exit code."""
    sys.modules.pop(module, None)  # an import of it by others is not its run
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as exc:
        code = _exit_code(exc.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return code


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


if __name__ == "__main__":
    import importlib
    import pkgutil

    commands = pkgutil.walk_packages(importlib.import_module(COMMANDS).__path__, f"{COMMANDS}.")
    for program in (*PROGRAMS, *(each.name for each in commands)):
        if not program.endswith(".__main__"):
            importlib.import_module(program)
    # What is imported is garbage in no program: theirs need not look at it, nor copy it by looking.
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
