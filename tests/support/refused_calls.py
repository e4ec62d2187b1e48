"""
Runs a command whose system calls are refused by a seccomp filter, as a container's profile does.

    python -m tests.support.refused_calls fsync=EINVAL,preadv2=EPERM COMMAND...
"""

import ctypes
import errno
import os
import platform
import struct
import sys

__all__ = ["can_refuse", "refusing"]

_NUMBERS = {
    "x86_64": {"flock": 73, "fsync": 74, "preadv2": 327},
    "aarch64": {"flock": 32, "fsync": 82, "preadv2": 286},
}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def can_refuse() -> bool:
    """Return whether this machine is one whose system calls are known."""
    return sys.platform == "linux" and platform.machine() in _NUMBERS


def refusing(calls: str) -> list[str]:
    """Return what a command begins with whose calls (``name=ERRNO,...``) are refused."""
    return [sys.executable, "-m", "tests.support.refused_calls", calls]


def _filter(calls: str) -> bytes:
    numbers = _NUMBERS[platform.machine()]
    program = [(_LOAD, 0, 0, 0)]  # the number of the call
    for call in calls.split(","):
        name, _, error = call.partition("=")
        program += [
            (_JUMP_IF_EQUAL, 0, 1, numbers[name]),
            (_RETURN, 0, 0, _ERRNO | getattr(errno, error)),
        ]
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _install(calls: str) -> None:
    program = _filter(calls)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or library.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the filter is refused")


def main() -> None:
    """Install the filter and become the command."""
    _install(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
