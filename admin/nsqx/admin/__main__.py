"""The ``nsqadmin`` program: reads the options and runs the dashboard until a signal ends it."""

import gc
import sys
from collections.abc import Sequence

from nsqx.runtime.process.early import Starting

__all__ = ["main"]

PROGRAM = "nsqadmin"

# Answers of daemons are tens of thousands of objects a second, which hold no cycles. By Python's
# thresholds a third of the processor time went into looking for some (20,000 channels a second).
ALLOCATIONS_BEFORE_COLLECTION = 100_000


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run until SIGINT or SIGTERM, and return the exit code: 0.

    Raises:
        SystemExit: 1 if it cannot start, 2 for a wrong command line; the reason is on stderr.
    """
    with Starting():
        from nsqx.admin.options import AdminOptions  # what takes long comes within
        from nsqx.runtime.options import flags

        options = flags.parse(AdminOptions, sys.argv[1:] if argv is None else argv, PROGRAM)
        from nsqx.net.late_authorities import read_when_needed

        with read_when_needed():
            from nsqx.admin.daemon import Admin
        from nsqx.runtime.process.allocator import return_large_blocks
        from nsqx.runtime.process.run import run_daemon

        return_large_blocks()  # documents and answers
        gc.set_threshold(ALLOCATIONS_BEFORE_COLLECTION)
        return run_daemon(lambda: Admin(options), options)


if __name__ == "__main__":
    sys.exit(main())
