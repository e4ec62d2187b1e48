"""
A daemon's process: logs, event loop, signals, exit code (options section 1).

    def main(argv: Sequence[str] | None = None) -> int:
        options = flags.parse(LookupdOptions, sys.argv[1:] if argv is None else argv, "nsqlookupd")
        return run_daemon(lambda: Lookupd(options), options)

The daemon is an async context manager: entering starts it, leaving stops it. SIGINT and SIGTERM
leave it once; the same signal again ends the process at once, for when stopping takes too long.
SIGHUP, which a terminal sends as it closes and old scripts send for new log files, ends nothing;
certificates are read again (`Reloadable`).
systemd is told when the daemon is ready, that it lives, and that it stops (`service_manager`).
"""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from nsqx.protocol.errors import StartupError
from nsqx.runtime.options.flags import DaemonOptions
from nsqx.runtime.process import logs, open_files, service_manager, tasks
from nsqx.runtime.process.startup import exit_with_failure

__all__ = ["Daemon", "new_event_loop", "run_daemon", "set_up_logs"]

Daemon = AbstractAsyncContextManager[object]


@runtime_checkable
class Reloadable(Protocol):
    """A daemon with files that can be read again."""

    def reload(self) -> None:
        """Read them, or say in the log why that was not possible and keep what was read before."""


PRIVATE = 0o027  # what is stored is nobody's business but the owner's and its group's
FLUSH_SECONDS_MAX = 1.0  # for a reader of the log that is slow

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = logs.get_logger()


def run_daemon(make_daemon: Callable[[], Daemon], options: DaemonOptions) -> int:
    """
    Run a daemon until a signal ends it, and return the exit code: 0.

    ``make_daemon`` is called inside the event loop, after the logs are set up.

    Raises:
        SystemExit: 1 if it cannot start; the one line with the reason is on stderr.
    """
    try:
        set_up_logs(options)
        _refuse_words(options)
        os.umask(os.umask(0o077) | PRIVATE)
        open_files.raise_limit()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_run(make_daemon, options))
    except StartupError as exc:
        raise exit_with_failure(exc, options.log_prefix, options.log_format) from exc
    finally:
        logs.flush(FLUSH_SECONDS_MAX)
    return 0


def _refuse_words(options: DaemonOptions) -> None:
    """
    Refuse to start with less than what was asked for.

    The words are not shown: what follows the first is not read as options, and may be secrets.
    """
    if options.leftovers:
        raise StartupError(
            f"{len(options.leftovers)} words behind the options are not read, and what they ask "
            "for would be missing; true and false are joined to their option: "
            "--tls-required=false (decision record 87)"
        )


def set_up_logs(options: DaemonOptions) -> None:
    """
    Set up the logs as the options say.

    Raises:
        StartupError: for an unknown ``--log-format``.
    """
    try:
        logs.setup(options.log_format, options.log_level, options.log_prefix)
    except ValueError as exc:
        raise StartupError(str(exc)) from exc


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop where it can be imported, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


@contextlib.asynccontextmanager
async def _started(starting: Daemon) -> AsyncIterator[object]:
    """Start a daemon without collections: what it makes stays, and a third was to look at it."""
    gc.disable()
    try:
        async with starting as daemon:
            # What is there now stays: full collections, which stop everything, need not look at
            # it. Garbage that the imports left stays with it, some 700 kB; to find it takes 15 ms.
            gc.freeze()
            gc.enable()
            yield daemon
    finally:
        gc.enable()


async def _run(make_daemon: Callable[[], Daemon], options: DaemonOptions) -> None:
    ended = asyncio.Event()
    # Before the daemon starts: a long recovery can be interrupted too, once it is over.
    for signum in _STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(signum, _end, signum, ended)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _go_on)
    tasks.handle_loop_errors(asyncio.get_running_loop())
    async with _started(make_daemon()) as daemon:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, daemon)
        # Not before it has started: a start that fails says one thing.
        for notice in options.notices():
            _log.warning("%s", notice)
        service_manager.notify("READY=1")
        with service_manager.watchdog():
            await ended.wait()
        service_manager.notify("STOPPING=1")


def _go_on() -> None:
    _log.info("received SIGHUP, going on: logs go to stderr, and options are read at the start")


def _reload(daemon: object) -> None:
    _go_on()
    if isinstance(daemon, Reloadable):
        daemon.reload()


def _end(signum: signal.Signals, ended: asyncio.Event) -> None:
    _log.info("received %s, stopping", signum.name)
    ended.set()
    asyncio.get_running_loop().remove_signal_handler(signum)
    signal.signal(signum, signal.SIG_DFL)
