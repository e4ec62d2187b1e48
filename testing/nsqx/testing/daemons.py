"""
Daemons within this process, each in a thread of its own, that can be hurt.

Theory of operation. They are the real ones, on real sockets, so any client may be tested with them.
A thread for each lets one hang while the others work:

    pause       its event loop stands still, as a process does that was sent SIGSTOP: the kernel
                still accepts connections and takes bytes, and nothing is answered
    kill        what is on disk at this moment is what the next start finds, all connections break,
                and nobody listens any more: as after SIGKILL
    disconnect  all connections of clients break; new ones are accepted
"""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from nsqx.client.background import BackgroundLoop
from nsqx.lookupd.daemon import Lookupd as LookupdDaemon
from nsqx.lookupd.options import LookupdOptions
from nsqx.net.host_port import split_host_port
from nsqx.nsqd.daemon import Nsqd as NsqdDaemon
from nsqx.nsqd.options import NsqdOptions
from nsqx.testing.http import Json, get_json, post

__all__ = ["Lookupd", "Node"]

HOST = "127.0.0.1"
ANY_PORT = f"{HOST}:0"
REGISTER_SECONDS_MAX = 10.0
POLL_SECONDS = 0.005
HOUR_NS = 3600 * 10**9


class Lookupd:
    """A directory."""

    def __init__(self, **options: Any) -> None:
        self._options = {
            "tcp_address": ANY_PORT,
            "http_address": ANY_PORT,
            "broadcast_address": HOST,
            **options,
        }
        self._loop = BackgroundLoop("nsqlookupd")
        self._stack = AsyncExitStack()
        self.tcp_address = ""
        self.http_address = ""

    def start(self) -> None:
        """Return when it listens."""
        self._loop.start()
        self._loop.run(self._start())

    def stop(self) -> None:
        """Close everything."""
        self._loop.run(self._stack.aclose())
        self._loop.stop()

    def wait_for(self, node: "Node") -> None:
        """
        Return when it knows a node.

        Raises:
            AssertionError: it never does.
        """
        port = split_host_port(node.tcp_address)[1]
        deadline = time.monotonic() + REGISTER_SECONDS_MAX
        while port not in self._tcp_ports():
            assert time.monotonic() < deadline, f"{node.tcp_address} did not register"
            time.sleep(POLL_SECONDS)

    def _tcp_ports(self) -> list[int]:
        nodes = get_json(f"http://{self.http_address}/nodes")["producers"]
        return [node["tcp_port"] for node in nodes]

    async def _start(self) -> None:
        daemon = LookupdDaemon(LookupdOptions(**self._options))
        await self._stack.enter_async_context(daemon)
        self.tcp_address, self.http_address = daemon.tcp_address, daemon.http_address


class Node:
    """
    An nsqd.

    Attributes:
        tcp_address, http_address: ``host:port``; the same after a restart.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        """``options`` are those of ``NsqdOptions``; the folder is made if it is not there."""
        self._folder = folder
        self._options: dict[str, Any] = {
            "tcp_address": ANY_PORT,
            "http_address": ANY_PORT,
            "broadcast_address": HOST,
            "data_path": str(folder),
            # What was published can be looked at after it was consumed.
            "retain_time": HOUR_NS,
            # Many event loops that poll would take turns at one interpreter lock.
            "busy_poll": 0,
            **options,
        }
        self._loop = BackgroundLoop("nsqd")
        self._daemon: NsqdDaemon | None = None
        self._resume = threading.Event()
        self.tcp_address = ""
        self.http_address = ""

    @property
    def is_running(self) -> bool:
        return self._daemon is not None

    # Start and stop

    def start(self) -> None:
        """Return when it listens: at the same addresses as before, if it ran before."""
        assert self._daemon is None, "it runs already"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._loop = BackgroundLoop("nsqd")
        self._loop.start()
        try:
            self._daemon = self._loop.run(self._start())
        except BaseException:
            self._loop.stop()
            raise

    async def _start(self) -> NsqdDaemon:
        daemon = NsqdDaemon(NsqdOptions(**self._options))
        await daemon.start()
        self.tcp_address, self.http_address = daemon.tcp_address, daemon.http_address
        self._options["tcp_address"] = self.tcp_address
        self._options["http_address"] = self.http_address
        return daemon

    def stop(self) -> None:
        """End in good order, as after SIGTERM. Does nothing when it does not run."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            self._resume.set()
            self._loop.run(_end(daemon))
            self._loop.stop()

    def restart(self) -> None:
        """Stop if it runs, and start."""
        self.stop()
        self.start()

    # Faults

    def kill(self) -> None:
        """End as after SIGKILL. ``start`` begins it anew with what was on disk."""
        daemon, self._daemon = self._daemon, None
        assert daemon is not None, "it does not run"
        self._resume.set()
        self._loop.run(self._kill(daemon))
        self._loop.stop()

    async def _kill(self, daemon: NsqdDaemon) -> None:
        at_death = self._folder.with_name(f"{self._folder.name}.at-death")
        # In one turn of the loop: nothing is acknowledged between the two.
        shutil.copytree(self._folder, at_death)
        daemon.tcp_server.abort_all()
        await _end(daemon)
        shutil.rmtree(self._folder)
        at_death.rename(self._folder)

    def disconnect(self) -> None:
        """Break the connections of all clients."""
        daemon = self._running()
        self._loop.call(daemon.tcp_server.abort_all)

    def pause(self) -> None:
        """Answer nothing until ``resume``."""
        self._running()
        self._resume.clear()
        paused = threading.Event()

        def stand_still() -> None:
            paused.set()
            self._resume.wait()

        self._loop.post(stand_still)
        paused.wait()

    def resume(self) -> None:
        """Go on where it was paused."""
        self._resume.set()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause for the length of a block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def _running(self) -> NsqdDaemon:
        assert self._daemon is not None, "it does not run"
        return self._daemon

    # Looking and touching

    def stats(self) -> Json:
        """What ``/stats`` says."""
        return get_json(f"http://{self.http_address}/stats?format=json")

    def post(self, path: str, body: bytes = b"") -> None:
        """POST to its HTTP API, such as ``/topic/create?topic=orders``."""
        post(f"http://{self.http_address}{path}", body)


async def _end(daemon: NsqdDaemon) -> None:
    """Stop it, and leave no connection behind, as the kernel does when a process ends."""
    await daemon.stop()
    daemon.tcp_server.abort_all()
