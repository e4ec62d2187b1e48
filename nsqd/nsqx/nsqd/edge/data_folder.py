"""The folder of all data: there, writable, and ours alone (protocol sections 12 and 14)."""

import errno
import fcntl
import os
from pathlib import Path

from nsqx.nsqd.log.storage import NO_ROOM
from nsqx.protocol.errors import StartupError

__all__ = ["DataFolder", "advice_for"]

_ADVICE = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room, or raise the quota",
    errno.EROFS: "mount it for writing",
    errno.EIO: "check the disk, the kernel's log says more",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def advice_for(error: OSError) -> str:
    """Return what to do about an error of the data folder."""
    return _ADVICE.get(error.errno or 0, "check its owner and mode")


class DataFolder:
    """Holds the lock that keeps a second nsqd out."""

    def __init__(self, path: Path) -> None:
        """
        Lock a folder.

        Raises:
            StartupError: it is missing, not writable, or another nsqd has it.
        """
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StartupError(f"failed to lock data-path: open {path}: {reason}") from error
        try:
            self._lock()
            self._check_writable()
        except StartupError:
            os.close(self._descriptor)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                raise StartupError(
                    f"failed to lock data-path: {self.path} is in use by another nsqd; "
                    "stop it or choose another --data-path"
                ) from error
            # Without it two nsqd could write there, so there is no going on.
            raise StartupError(
                f"failed to lock data-path: {self.path}: {error.strerror}; its file system, or a "
                "filter of system calls, gives no locks (flock): allow them, or choose a folder "
                "on a local disk"
            ) from error

    def _check_writable(self) -> None:
        probe = self.path / ".nsqd-probe"
        try:
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            if error.errno in NO_ROOM:  # what is there has to be drained to make room
                return
            raise StartupError(
                f"failed to write to data-path {self.path}: {error.strerror}; "
                f"{advice_for(error)}, or choose another"
            ) from error

    def release(self) -> None:
        """Let another nsqd have it."""
        os.close(self._descriptor)
