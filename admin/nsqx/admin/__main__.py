"""``nsqadmin``: reads the options and runs the dashboard until a signal ends it."""

import asyncio
import signal
import sys
from collections.abc import Sequence

from nsqx.runtime import flags, logs
from nsqx.runtime.startup import StartupError, exit_with_failure

from .daemon import Admin
from .options import AdminOptions

__all__ = ["main"]

PROGRAM = "nsqadmin"


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run until SIGINT or SIGTERM, and return the exit code: 0.

    Raises:
        SystemExit: 1 if it cannot start, 2 for a wrong command line; the reason is on stderr.
    """
    options = flags.parse(AdminOptions, sys.argv[1:] if argv is None else argv, PROGRAM)
    try:
        _set_up_logs(options)
        asyncio.run(_run(options))
    except StartupError as exc:
        raise exit_with_failure(exc, options.log_prefix) from exc
    return 0


def _set_up_logs(options: AdminOptions) -> None:
    try:
        logs.setup(options.log_format, options.log_level, options.log_prefix)
    except ValueError as exc:
        raise StartupError(str(exc)) from exc
    for notice in options.notices():
        logs.get_logger().warning(notice)


async def _run(options: AdminOptions) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, ended.set)
    async with Admin(options):
        await ended.wait()


if __name__ == "__main__":
    sys.exit(main())
