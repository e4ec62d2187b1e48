"""The ``nsqlookupd`` program: reads options, runs until it is told to end."""

import asyncio
import signal
import sys
from collections.abc import Sequence

from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from nsqx.runtime import flags, logs
from nsqx.runtime.startup import StartupError
from nsqx.runtime.version import RUNTIME, VERSION

__all__ = ["main"]

PROGRAM = "nsqlookupd"

_log = logs.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run until SIGINT or SIGTERM and return the exit code.

    0 after a signal, 1 if it cannot start. A wrong command line exits with 2 by itself.
    """
    options = flags.parse(LookupdOptions, sys.argv[1:] if argv is None else argv, PROGRAM)
    try:
        _set_up_logs(options)
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(_run(options))
    except StartupError as exc:
        _log.fatal("failed to instantiate %s - %s", PROGRAM, exc.message)
        return 1
    return 0


def _set_up_logs(options: LookupdOptions) -> None:
    try:
        logs.setup(options.log_format, options.log_level, options.log_prefix)
    except ValueError as exc:
        logs.setup("nsq", options.log_level, options.log_prefix)
        raise StartupError(str(exc)) from exc
    for notice in options.notices():
        _log.warning(notice)


async def _run(options: LookupdOptions) -> None:
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, told_to_end.set)
    _log.info("%s v%s (built w/%s)", PROGRAM, VERSION, RUNTIME)
    async with Lookupd(options):
        await told_to_end.wait()
        _log.info("stopping")


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not made for this system
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    sys.exit(main())
