"""
Runs simulations from the command line.

    python -m tests.simulation --seeds 100 --minutes 10 --jobs 2
    python -m tests.simulation --seed 17 --minutes 10 --trace
    python -m tests.simulation --seeds 20 --minutes 4 --table

A failing seed is shrunk to the actions that matter and shown with the line that replays it.
"""

import argparse
import sys
import time

from tests.simulation.campaign import (
    Selection,
    Totals,
    describe_failure,
    fresh_seed,
    replay_command,
    run_all,
)
from tests.simulation.cluster import Result, simulate
from tests.simulation.plan import CHANGES, DAMAGES, DIRECTORY_FAULTS, FAULTS, OPERATIONS, PAUSES


def main() -> int:
    """Run what was asked for; return 1 if a promise was broken."""
    arguments = _arguments()
    if arguments.trace:
        return _trace(arguments)
    if arguments.table:
        return _table(arguments)
    totals = Totals()
    began = time.monotonic()
    for result in run_all(
        _seeds(arguments), _selection(arguments), jobs=arguments.jobs, seconds_max=arguments.seconds
    ):
        totals.add(result)
        if result.violation is not None or arguments.verbose:
            _report(result)
        if totals.failures and arguments.stop:
            break
    for failing in totals.failures[: arguments.shrink]:
        print(describe_failure(failing))
    print(f"{totals.describe()}; took {time.monotonic() - began:.0f} s")
    return 1 if totals.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--fresh", action="store_true", help="seeds that nobody has tried yet")
    parser.add_argument("--minutes", type=float, default=10.0, help="simulated, of each seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seconds", type=float, help="begin no seed after so long")
    parser.add_argument("--stop", action="store_true", help="at the first failure")
    parser.add_argument("--shrink", type=int, default=3, help="how many failures to shrink")
    parser.add_argument("--only", help="numbers of actions, with commas; - for none")
    parser.add_argument("--kinds", help="of actions, with commas")
    parser.add_argument("--become", metavar="KINDS", help="turn all actions into these")
    parser.add_argument("--producers", help="names, with commas; - for none")
    parser.add_argument("--consumers", help="names, with commas; - for none")
    parser.add_argument("--trace", action="store_true", help="print all that happens in one seed")
    parser.add_argument("--table", action="store_true", help="run each kind of fault by itself")
    parser.add_argument("--verbose", action="store_true", help="a line for each seed")
    return parser.parse_args()


def _seeds(arguments: argparse.Namespace) -> range:
    first = arguments.seed
    if arguments.fresh:
        first = fresh_seed()
    return range(first, first + arguments.seeds)


def _selection(arguments: argparse.Namespace) -> Selection:
    numbers = _list(arguments.only)
    return Selection(
        arguments.minutes,
        None if numbers is None else {int(number) for number in numbers},
        _list(arguments.kinds),
        arguments.become,
        _list(arguments.producers),
        _list(arguments.consumers),
    )


def _list(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [] if text == "-" else text.split(",")


def _trace(arguments: argparse.Namespace) -> int:
    result = simulate(_selection(arguments).plan_of(arguments.seed), is_trace_kept=True)
    for line in result.lines:
        print(line)
    _report(result)
    return int(result.violation is not None)


def _table(arguments: argparse.Namespace) -> int:
    """Print what each kind of fault costs when it is the only one."""
    print("| fault | times | published | acknowledged | again | after FIN | lost | excused |")
    print("|---|---|---|---|---|---|---|---|")
    failed = 0
    whole = (*FAULTS, *DIRECTORY_FAULTS, *CHANGES, *PAUSES, *OPERATIONS)
    damages = [f"{kind},kill" for kind in DAMAGES]  # what is in memory would hide damage
    for kinds in ("none", *whole, *damages):
        selection = Selection(arguments.minutes, become=kinds)
        if kinds == "none":
            selection = Selection(arguments.minutes, actions=())
        totals = Totals()
        for result in run_all(_seeds(arguments), selection, jobs=arguments.jobs):
            totals.add(result)
        counts = totals.counts
        lost = sum(
            failing.violation is not None and "lost" in failing.violation.promise
            for failing in totals.failures
        )
        print(
            f"| `{kinds}` | {sum(totals.faults.values())} | {counts.published} "
            f"| {counts.acknowledged} | {counts.again} | {counts.duplicates} | {lost} "
            f"| {counts.lost_by_class + counts.lost_to_damage} |",
            flush=True,
        )
        failed += len(totals.failures)
        for failing in totals.failures:
            print(failing.violation, replay_command(failing.plan), file=sys.stderr)
    return 1 if failed else 0


def _report(result: Result) -> None:
    counts = result.counts
    outcome = "ok" if result.violation is None else f"VIOLATION {result.violation}"
    print(
        f"seed {result.plan.seed}: {result.simulated_s / 60:.1f} min, "
        f"{counts.published} published, {counts.acknowledged} acknowledged, "
        f"{counts.delivered} delivered, {counts.again} again, "
        f"{counts.lost_by_class} lost by class, {counts.lost_to_damage} to damage, "
        f"{sum(result.faults.values())} faults, {result.digest} {outcome}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
