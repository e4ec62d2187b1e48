"""
What a second nsqd on the same machine is worth: ``python -m benchmarks.nodes``.

A node is one event loop, so it uses one processor. This runs the same scenario against one node
and against several in step, each with load of its own: all begin together, and the time is that
until the last one is done. The load needs processors too: a machine with no more of them than
nodes shows less than one that has some to spare.
"""

import argparse
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.broker import Broker, OwnBroker
from benchmarks.machine import Machine
from benchmarks.runner import Runner
from benchmarks.scenarios import BUDGETED, EXTRA, Scenario
from benchmarks.worker import Job, Outcome, Pipe, Worker

NAMES = ("publish-200", "publish-1-c8", "deliver", "both-200")


class WorkerInStep(Worker):
    """A load process that begins when those of the other nodes do."""

    barrier: threading.Barrier

    def go(self) -> None:
        self.barrier.wait()
        super().go()


class RunnerInStep(Runner):
    """Measures one of several nodes."""

    def __init__(self, broker: Broker, barrier: threading.Barrier) -> None:
        super().__init__(broker)
        self._barrier = barrier

    def _worker(self, work: Callable[[Job, Pipe], Outcome], job: Job) -> Worker:
        worker = WorkerInStep(work, job)
        worker.barrier = self._barrier
        return worker


def measure(scenario: Scenario, nodes: int) -> tuple[float, float]:
    """Return the messages a second of all nodes together, and a broker's CPU us per message."""
    barrier = threading.Barrier(nodes)
    with ExitStack() as stack:
        runners: list[RunnerInStep] = []
        for _ in range(nodes):
            folder = stack.enter_context(TemporaryDirectory(dir="/var/tmp"))
            broker = OwnBroker(Path(folder), [], ())
            stack.callback(broker.stop)
            runners.append(RunnerInStep(broker, barrier))
        pool = stack.enter_context(ThreadPoolExecutor(nodes))
        results = list(pool.map(lambda runner: runner.run(scenario), runners))
    messages = sum(result.messages for result in results)
    cpu_us = sum(result.cpu_us or 0 for result in results) / nodes
    return messages / max(result.seconds for result in results), cpu_us


def main() -> None:
    """Measure, and print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.nodes")
    parser.add_argument("--nodes", type=int, default=2, help="compare one with so many (default 2)")
    parser.add_argument("--runs", type=int, default=5, help="runs, of which medians are shown")
    parser.add_argument("names", nargs="*", default=NAMES, metavar="SCENARIO")
    options = parser.parse_args()
    scenarios = {scenario.name: scenario for scenario in (*BUDGETED, *EXTRA)}
    print(f"{Machine.read()}\n", file=sys.stderr)
    print("| scenario | nodes | msg/s together | us/msg of a broker |")
    print("|---|---|---|---|")
    for name in options.names:
        for nodes in (1, options.nodes):
            runs = [measure(scenarios[name], nodes) for _ in range(options.runs)]
            rate, cpu_us = (median(figures) for figures in zip(*runs, strict=True))
            print(f"| `{name}` | {nodes} | {rate:,.0f} | {cpu_us:.2f} |", flush=True)


if __name__ == "__main__":
    main()
