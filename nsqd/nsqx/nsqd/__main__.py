"""The ``nsqd`` program."""

import sys
from collections.abc import Sequence

from nsqx.runtime.process.early import Starting

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM and return the exit code."""
    with Starting():
        from nsqx.nsqd.options import NsqdOptions  # what takes long comes within
        from nsqx.runtime.options import flags

        options = flags.parse(NsqdOptions, sys.argv[1:] if argv is None else argv, "nsqd")
        from nsqx.nsqd.daemon import Nsqd
        from nsqx.runtime.process.run import run_daemon

        return run_daemon(lambda: Nsqd(options), options)


if __name__ == "__main__":
    sys.exit(main())
