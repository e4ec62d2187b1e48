"""
One daemon as a child process: started, watched, started again when it dies, ended.

The child is its own process group, so that Ctrl-C in the terminal reaches only us and we choose the
order in which things end. It says itself where it listens (``TCP: listening on 127.0.0.1:4150``),
which is also how we know that it is ready.
"""

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from nsqx.protocol.errors import NsqxError

__all__ = ["Child", "ChildEndedError", "Patience"]

LOG_LINE_BYTES_MAX = 1 << 20

_LISTENING = re.compile(r'(TCP|HTTP): listening on ([^\s"]+)')


class ChildEndedError(NsqxError):
    """
    A child ended, or was ended, before it was ready.

    Its own log has said why; the text only says which.
    """


@dataclass(frozen=True, slots=True)
class Patience:
    """
    With a child, in seconds.

    Attributes:
        ready_max: a broker may have to check a large log first.
        backoff_min, backoff_max: before it is started again.
        steady: who ran this long starts again at the shortest backoff.
    """

    ready_max: float = 300.0
    backoff_min: float = 0.5
    backoff_max: float = 30.0
    steady: float = 60.0


class Child:
    """
    A daemon that is kept running.

    Args:
        name: what its log lines are marked with.
        command: the program and those arguments that never change.
        listen: listener to address, ``{"TCP": "127.0.0.1:4150"}``; port 0 leaves the choice to the
            system at the first start, later starts keep it.
        tell: called with the name and a line, for each line the child writes and for our own.
        flag_prefix: of the flags that say where it listens: ``own-`` for ``--own-tcp-address``.
    """

    def __init__(
        self,
        name: str,
        command: Iterable[str],
        listen: dict[str, str],
        tell: Callable[[str, str], None],
        patience: Patience | None = None,
        flag_prefix: str = "",
    ) -> None:
        self.name = name
        self._flag_prefix = flag_prefix
        self.addresses = dict(listen)
        self._command = list(command)
        self._tell = tell
        self._patience = patience or Patience()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._listening: set[str] = set()
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """
        Start it and wait until all its listeners are open.

        Raises:
            ChildEndedError: it ended first, or was not ready in time and was killed.
        """
        self._listening.clear()
        self._ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            *(
                f"--{self._flag_prefix}{kind.lower()}-address={address}"
                for kind, address in self.addresses.items()
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LOG_LINE_BYTES_MAX,
            process_group=0,
        )
        assert self._process.stdout is not None
        self._reader = asyncio.create_task(self._pass_on(self._process.stdout))
        await self._wait_until_ready(self._process)

    async def keep_running(self) -> None:
        """Start it again whenever it ends, ever later. Never returns; cancel it before ``stop``."""
        loop = asyncio.get_running_loop()
        patience = self._patience
        backoff = patience.backoff_min
        while True:
            started = loop.time()
            reason = await self._wait()
            if loop.time() - started > patience.steady:
                backoff = patience.backoff_min
            self._tell(self.name, f"{reason}; starting it again in {backoff:g} s")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, patience.backoff_max)
            try:
                await self.start()
            except ChildEndedError:
                continue
            self._tell(self.name, "is back")

    async def stop(self, seconds_max: float) -> bool:
        """
        Ask it to end (SIGTERM), and kill it when it does not in time.

        Returns:
            Whether it ended by itself and in order: exit code 0. One that was not running has.
        """
        if self._process is None or self._process.returncode is not None:
            return True
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds_max):
                reason = await self._wait()
        except TimeoutError:
            self._tell(self.name, f"did not end in {seconds_max:g} s, killing it")
            self.kill()
            await self._wait()
            return False
        if self._process.returncode != 0:
            self._tell(self.name, reason)
        return self._process.returncode == 0

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._signal(signal.SIGKILL)

    def _signal(self, signum: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            # Not by asyncio: that asks first whether the process has ended, as by a Ctrl-C that
            # went to all, and if it just has, takes the exit code from whoever waits for it.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signum)

    async def _wait(self) -> str:
        """Wait for its end and the end of its log, and say how it ended."""
        assert self._process is not None
        assert self._reader is not None
        code = await self._process.wait()
        await self._reader
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        ready_max = self._patience.ready_max
        ready = asyncio.create_task(self._ready.wait())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait(
                {ready, ended}, timeout=ready_max, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
            ended.cancel()
        if self._ready.is_set():
            return
        if process.returncode is None:
            self._tell(self.name, f"was not ready in {ready_max:g} s, killing it")
            self.kill()
        raise ChildEndedError(f"{self.name} {await self._wait()}")

    async def _pass_on(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip("\r\n")
            self._tell(self.name, line)
            if (match := _LISTENING.search(line)) and match[1] in self.addresses:
                self.addresses[match[1]] = match[2]
                self._listening.add(match[1])
                if self._listening == self.addresses.keys():
                    self._ready.set()
