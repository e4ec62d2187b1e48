"""The ``nsqd`` program."""

import sys
from collections.abc import Sequence

from nsqx.nsqd.daemon import Nsqd
from nsqx.nsqd.options import NsqdOptions
from nsqx.runtime.options import flags
from nsqx.runtime.process.run import run_daemon

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM and return the exit code."""
    options = flags.parse(NsqdOptions, sys.argv[1:] if argv is None else argv, "nsqd")
    return run_daemon(lambda: Nsqd(options), options)


if __name__ == "__main__":
    sys.exit(main())
