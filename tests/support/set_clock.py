"""
Programs whose clock on the wall is set while they run; the machine's own stays as it is.

A small library, made by the C compiler that is here, is loaded before theirs: it adds the seconds
that stand in a file to what the system says, for wall time only.
"""

import shutil
import struct
import subprocess
from pathlib import Path

__all__ = ["SetClock", "can_set_clock"]

_SECONDS = struct.Struct("=q")
_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *seconds;

__attribute__((constructor)) static void begin(void)
{
    int file = open(getenv("SET_CLOCK"), O_RDONLY);
    seconds = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || seconds == MAP_FAILED)
        abort();
    close(file);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    int failed = syscall(SYS_clock_gettime, id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += *seconds;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (result)
        *result = exact.tv_sec;
    return exact.tv_sec;
}
"""


def can_set_clock() -> bool:
    """Return whether there is a C compiler."""
    return shutil.which("cc") is not None


class SetClock:
    """A clock that is ahead of the machine's by as much as was said last."""

    def __init__(self, folder: Path) -> None:
        source, self._library = folder / "set_clock.c", folder / "set_clock.so"
        source.write_text(_SOURCE)
        command = ["cc", "-shared", "-fPIC", "-O", "-o", str(self._library), str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        self._file = folder / "seconds"
        self.set_ahead(0)

    def set_ahead(self, seconds: int) -> None:
        """Set the clock of all who run with it, at once."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(_SECONDS.pack(seconds))

    def prefix(self) -> list[str]:
        """Return what a command begins with that has this clock."""
        return ["env", f"LD_PRELOAD={self._library}", f"SET_CLOCK={self._file}"]
