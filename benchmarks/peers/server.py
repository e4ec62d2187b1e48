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
_REST_SECONDS = 0.3
_REST_SHARE = 0.05  # of a processor
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
            process = BrokerProcess(popen.pid)
            _wait_until_it_rests(process)
            with closing(Dialogue(port)) as dialogue:
                peer.speech(durability).prepare(dialogue, memory=durability is Durability.MEMORY)
            yield port, process
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


def _wait_until_it_rests(process: BrokerProcess) -> None:
    """Let it end what it begins with: ours listens before it has all of its parts."""
    deadline = time.monotonic() + _START_SECONDS
    before = process.cpu_time()
    while time.monotonic() < deadline:
        time.sleep(_REST_SECONDS)
        if process.cpu_time().since(before).total_ns < _REST_SECONDS * _REST_SHARE * 1e9:
            return
        before = process.cpu_time()


def _end(popen: "subprocess.Popen[bytes]") -> None:
    # What it would still write is removed in a moment.
    popen.kill()
    popen.wait(_STOP_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
