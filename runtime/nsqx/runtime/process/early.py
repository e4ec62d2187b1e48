"""
What holds while a program is still importing what it needs: signals end it, nothing is collected.

The only module that a daemon imports before its `Starting`, so it imports next to nothing.
`nsqx.runtime.process.run` takes over when there is something to stop.
"""

import gc
import os
import signal
import threading

__all__ = ["Starting"]


class Starting:
    """
    Hold within: SIGTERM and SIGINT end with 0, as nothing has begun that had to be ended.

    Nothing is collected either: all that imports make stays. A daemon that has started collects.
    """

    def __enter__(self) -> None:
        _end_on_signals()
        gc.disable()

    def __exit__(self, *failure: object) -> None:
        gc.enable()


def _end_on_signals() -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # within somebody else's process, whose signals are its own
    for signum in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _end)


def _end(signum: int, frame: object) -> None:
    os._exit(0)
