"""
What a daemon tells systemd, if that started it with ``Type=notify`` (sd_notify(3)).

    notify("READY=1")
    with watchdog():        tells from the event loop that it lives, as often as WatchdogSec= wants
        ...

Both do nothing where nobody listens: neither ``NOTIFY_SOCKET`` nor ``WATCHDOG_USEC`` is set then.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["notify", "watchdog", "watchdog_interval_s"]

# The manager reads at once. One that does not must not hold up the event loop for long.
SEND_SECONDS_MAX = 1.0


def notify(state: str) -> bool:
    """Tell the manager, such as ``STOPPING=1``; return whether it was told."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    # A path that begins with @ is a name outside the file system.
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(SEND_SECONDS_MAX)
        try:
            sender.sendto(state.encode(), address)
        except OSError:
            return False  # a manager that is gone is no reason to end
    return True


def watchdog_interval_s() -> float | None:
    """Return how often a sign of life is due, half of what is allowed; None if nobody waits."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    is_for_us = not pid or pid == str(os.getpid())
    if not microseconds.isdecimal() or int(microseconds) == 0 or not is_for_us:
        return None
    return int(microseconds) / 2e6


@contextmanager
def watchdog() -> Iterator[None]:
    """Give signs of life from the running event loop: one that hangs gives none."""
    interval_s = watchdog_interval_s()
    if interval_s is None:
        yield
        return
    loop = asyncio.get_running_loop()
    handle: asyncio.TimerHandle

    def give_sign() -> None:
        nonlocal handle
        handle = loop.call_later(interval_s, give_sign)
        notify("WATCHDOG=1")

    give_sign()
    try:
        yield
    finally:
        handle.cancel()
