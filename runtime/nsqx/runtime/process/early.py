"""
Signals that come while a program is still importing what it needs.

The only module that a daemon imports before it calls `end_on_signals`, so it imports next to
nothing. `nsqx.runtime.process.run` takes the signals over when there is something to stop.
"""

import os
import signal
import threading

__all__ = ["end_on_signals"]


def end_on_signals() -> None:
    """End with 0 at SIGTERM and SIGINT from now on: nothing has begun that had to be ended."""
    if threading.current_thread() is not threading.main_thread():
        return  # within somebody else's process, whose signals are its own
    for signum in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _end)


def _end(signum: int, frame: object) -> None:
    os._exit(0)
