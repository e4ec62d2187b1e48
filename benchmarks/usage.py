"""
What a process costs, from outside: CPU time and memory. Linux only.

CPU time is read from the process's own CPU clock, which the kernel keeps in nanoseconds for all its
threads together, those that have ended included. /proc/PID/stat has the same in steps of 10 ms, and
how it divides between the program and the kernel.
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Total in ns; the kernel's part in whole ticks of /proc, also as ns."""

    total_ns: int
    system_ns: int

    def since(self, earlier: "CpuTime") -> "CpuTime":
        return CpuTime(self.total_ns - earlier.total_ns, self.system_ns - earlier.system_ns)


class BrokerProcess:
    """The process under test, by pid."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._proc = Path(f"/proc/{pid}")
        # The CPU clock of another process, as clock_getcpuclockid(3) makes it on Linux.
        self._clock = (~pid << 3) | 2

    def cpu_time(self) -> CpuTime:
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        system_ns = int(fields[12]) * 1_000_000_000 // _TICKS_PER_SECOND
        return CpuTime(time.clock_gettime_ns(self._clock), system_ns)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the process do nothing meanwhile: it finds all that is sent in one turn."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            while self._state() != "T":
                time.sleep(0)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _state(self) -> str:
        return (self._proc / "stat").read_text().rpartition(")")[2].split()[0]

    def rss_peak_bytes(self) -> int:
        """The largest resident size since ``forget_rss_peak``, or since the process began."""
        return self._status("VmHWM")

    def rss_bytes(self) -> int:
        return self._status("VmRSS")

    def forget_rss_peak(self) -> None:
        with contextlib.suppress(PermissionError):
            (self._proc / "clear_refs").write_text("5")

    def pin(self, cpus: Collection[int]) -> None:
        for thread in (self._proc / "task").iterdir():
            os.sched_setaffinity(int(thread.name), cpus)

    def _status(self, field: str) -> int:
        for line in (self._proc / "status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise LookupError(f"/proc/{self.pid}/status has no {field}")


def find_listener(port: int) -> int:
    """
    Return the pid of the process that listens on a TCP port of this machine.

    Raises:
        LookupError: nobody does, or it is another user's process.
    """
    inodes = set(_listening_inodes(port))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inodes & _socket_inodes(entry / "fd"):
            return int(entry.name)
    raise LookupError(f"no process of ours listens on port {port}; name it with --broker-pid")


def _listening_inodes(port: int) -> list[str]:
    inodes = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.append(fields[9])
    return inodes


def _socket_inodes(descriptors: Path) -> set[str]:
    inodes = set()
    with contextlib.suppress(OSError):  # the process ended, or is not ours
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(OSError):
                link = os.readlink(descriptor)
                if link.startswith("socket:["):
                    inodes.add(link[8:-1])
    return inodes
