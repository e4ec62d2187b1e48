"""A broker that was started for one run: its process, its port, its folder."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.cells import Durability
from benchmarks.peers.peer import Peer
from benchmarks.peers.speech import Dialogue
from benchmarks.usage import BrokerProcess
from benchmarks.worker import LoadError

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


@contextmanager
def running(
    peer: Peer, program: str, durability: Durability, directory: str
) -> Iterator[tuple[int, BrokerProcess]]:
    """
    Start it with an empty folder below ``directory``; yield its port and process; end it.

    Raises:
        LoadError: it did not start; with the last lines of what it said.
    """
    with TemporaryDirectory(prefix=f"bench-{peer.key}-", dir=directory) as name:
        data = Path(name)
        port = _free_port()
        log = data / "broker.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [program, *peer.arguments(durability, data, port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_until_it_listens(popen, port, log)
            with closing(Dialogue(port)) as dialogue:
                peer.speech(durability).prepare(dialogue, memory=durability is Durability.MEMORY)
            yield port, BrokerProcess(popen.pid)
        finally:
            _end(popen)


def _wait_until_it_listens(popen: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while popen.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    said = log.read_text(errors="replace").strip().splitlines()[-3:]
    ended = "" if popen.returncode is None else f", exit status {popen.returncode}"
    raise LoadError(f"it did not start{ended}: {' / '.join(said) or 'it said nothing'}")


def _end(popen: "subprocess.Popen[bytes]") -> None:
    # What it would still write is removed in a moment.
    popen.kill()
    popen.wait(_STOP_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
