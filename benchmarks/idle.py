"""
What channels cost that nothing happens to, each with a consumer that has nothing to do.

    python -m benchmarks.idle

Channels are made by subscribing to them, of a hundred topics, by connections that stay and whose
heartbeats are an hour apart. Then nsqd is left alone until what it owes its disk is written, and
watched for some seconds: CPU time and how often it woke up. At last it is started again with all
these channels. Both processes need so many open files and some more (``ulimit -n``).
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.broker import OwnBroker
from benchmarks.link import Link, Target
from benchmarks.machine import Machine
from benchmarks.usage import BrokerProcess
from benchmarks.wire import sub
from nsqx.runtime.process import open_files

CHANNELS = 10_000
TOPICS = 100
WINDOWS = 6
WINDOW_SECONDS = 10.0
HOUR_MS = 3_600_000
SPARE_FILES = 100
_OPTIONS = ("--max-heartbeat-interval=1h",)


class Measurement:
    """What was found: CPU milliseconds, shares of a core in percent, and wake-ups a second."""

    def __init__(self) -> None:
        self.empty: tuple[float, float] = (0.0, 0.0)  # share, wake-ups: without clients
        self.made_ms: list[float] = []  # a channel with its connection, by tenths of all
        self.idle: list[tuple[float, float]] = []  # share, wake-ups, one window after the other
        self.start_ms = 0.0

    def lines(self) -> Iterator[str]:
        """Yield a line for each figure."""
        yield f"without clients: {self.empty[0]:.2f} % of a core, {self.empty[1]:.1f} wake-ups/s"
        yield "a connection with a new channel, ms of CPU, by tenths: " + ", ".join(
            f"{each:.2f}" for each in self.made_ms
        )
        for number, (share, wakeups) in enumerate(self.idle):
            seconds = f"{number * WINDOW_SECONDS:.0f} s after the last"
            yield f"idle, {seconds}: {share:.2f} % of a core, {wakeups:.1f} wake-ups/s"
        yield f"start with all of them: {self.start_ms / 1000:.2f} s of CPU"


def _watch(process: BrokerProcess, seconds: float) -> tuple[float, float]:
    """Return the share of a core in percent, and how often a second the process woke up."""
    before, woken, began = process.cpu_time(), _wakeups(process), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    spent = process.cpu_time().since(before)
    return spent.total_ns / passed / 1e7, (_wakeups(process) - woken) / passed


def _wakeups(process: BrokerProcess) -> int:
    total = 0
    for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def _subscribe(target: Target, number: int) -> Link:
    link = Link(target)
    link.call(sub(f"t{number % TOPICS}", f"c{number // TOPICS}"))
    return link


def measure(channels: int, windows: int, seconds: float, directory: str) -> Measurement:
    """Make channels, leave them alone, and start again with them."""
    found = Measurement()
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="nsqx-idle-", dir=directory))
        broker = OwnBroker(Path(folder), _OPTIONS)
        stack.callback(broker.stop)
        assert broker.process is not None
        found.empty = _watch(broker.process, seconds)
        target = Target(broker.host, broker.port, heartbeat_ms=HOUR_MS)
        with ExitStack() as links:
            for tenth in range(10):
                before = broker.process.cpu_time()
                numbers = range(channels * tenth // 10, channels * (tenth + 1) // 10)
                for number in numbers:
                    links.callback(_subscribe(target, number).close)
                spent = broker.process.cpu_time().since(before)
                found.made_ms.append(spent.total_ns / 1e6 / len(numbers))
            found.idle += [_watch(broker.process, seconds) for _ in range(windows)]
        broker.stop()
        broker.start()
        found.start_ms = broker.process.cpu_time().total_ns / 1e6
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure once and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    add = parser.add_argument
    add("--channels", type=int, default=CHANNELS)
    add("--windows", type=int, default=WINDOWS, help="to watch them in")
    add("--seconds", type=float, default=WINDOW_SECONDS, help="of a window")
    add("--directory", default="/var/tmp", help="for the data of nsqd")
    add("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    if options.channels + SPARE_FILES > open_files.limit():
        parser.error(f"{options.channels} connections need a higher limit of open files")
    found = measure(options.channels, options.windows, options.seconds, options.directory)
    if options.json:
        print(json.dumps(vars(found)))
    else:
        print(Machine.read(), *found.lines(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
