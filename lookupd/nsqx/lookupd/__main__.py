"""The ``nsqlookupd`` program: reads options, runs until it is told to end."""

import sys
from collections.abc import Sequence

from nsqx.runtime.process.early import Starting

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run until SIGINT or SIGTERM, and return the exit code: 0.

    Raises:
        SystemExit: 1 if it cannot start, 2 for a wrong command line; the reason is on stderr.
    """
    with Starting():
        from nsqx.lookupd.options import LookupdOptions  # what takes long comes within
        from nsqx.runtime.options import flags

        options = flags.parse(LookupdOptions, sys.argv[1:] if argv is None else argv, "nsqlookupd")
        from nsqx.net.late_authorities import read_when_needed

        with read_when_needed():
            from nsqx.lookupd.daemon import Lookupd
        from nsqx.runtime.process.run import run_daemon

        return run_daemon(lambda: Lookupd(options), options)


if __name__ == "__main__":
    sys.exit(main())
