"""
Runs simulations from the command line.

    python -m tests.simulation --seeds 100 --minutes 10 --jobs 2
    python -m tests.simulation --seed 17 --trace
"""

import argparse
import sys
import time

from tests.simulation.cluster import Result, simulate
from tests.simulation.plan import plan_of
from tests.simulation.shrink import shrink


def main() -> int:
    """Run what was asked for; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", help="numbers of actions, with commas between them")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--shrink", action="store_true")
    arguments = parser.parse_args()
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        plan = plan_of(seed, arguments.minutes)
        if arguments.only is not None:
            plan = plan.only({int(number) for number in arguments.only.split(",") if number})
        began = time.perf_counter()
        result = simulate(plan, is_trace_kept=arguments.trace)
        for line in result.lines:
            print(line)
        if result.violation is not None and arguments.shrink:
            result = shrink(result)
            result = simulate(result.plan, is_trace_kept=True)
            for line in result.lines:
                print(line)
            print(result.plan)
        failed += result.violation is not None
        _report(result, time.perf_counter() - began)
    return 1 if failed else 0


def _report(result: Result, took_s: float) -> None:
    counts = result.counts
    print(
        f"seed {result.plan.seed}: {result.simulated_s / 60:.1f} min in {took_s:.2f} s, "
        f"{counts.published} published, {counts.acknowledged} acknowledged, "
        f"{counts.delivered} delivered, {counts.again} again, "
        f"{counts.lost_by_class} lost by class, {counts.lost_to_damage} to damage, "
        f"{sum(result.faults.values())} faults, {result.digest} "
        f"{'ok' if result.violation is None else 'VIOLATION ' + str(result.violation)}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
