"""The folder of all data: there, writable, and ours alone (protocol sections 12 and 14)."""

import errno
import fcntl
import os
from pathlib import Path

from nsqx.protocol.errors import StartupError

__all__ = ["DataFolder"]


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
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check_writable()
        except OSError as error:
            os.close(self._descriptor)
            if error.errno == errno.EAGAIN:
                raise StartupError(
                    f"failed to lock data-path: {path} is in use by another nsqd; "
                    "stop it or choose another --data-path"
                ) from error
            raise StartupError(
                f"failed to write to data-path {path}: {error.strerror}; "
                "check its owner and mode, or choose another"
            ) from error

    def _check_writable(self) -> None:
        probe = self.path / ".nsqd-probe"
        probe.write_bytes(b"")
        probe.unlink()

    def release(self) -> None:
        """Let another nsqd have it."""
        os.close(self._descriptor)
