"""Many simulations, in several processes, and what came of them."""

import random
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import takewhile
from multiprocessing import get_context

from tests.simulation.auditor import Counts
from tests.simulation.cluster import Result, simulate
from tests.simulation.plan import Plan, plan_of
from tests.simulation.shrink import shrink
from tests.simulation.story import story_of

__all__ = ["Selection", "Totals", "describe_failure", "fresh_seed", "replay_command", "run_all"]

FRESH_SEEDS_FROM = 1_000_000

TRACE_LINES = 60  # of a failure, before the broken promise


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of the plans to run; None is all."""

    minutes: float
    actions: Collection[int] | None = None  # by number
    kinds: Collection[str] | None = None  # of actions
    become: str | None = None  # what all actions are turned into; kinds with commas
    producers: Collection[str] | None = None
    consumers: Collection[str] | None = None

    def plan_of(self, seed: int) -> Plan:
        """Return the part of a seed's plan."""
        plan = plan_of(seed, self.minutes)
        if self.kinds is not None:
            kept = [action.number for action in plan.actions if action.kind in self.kinds]
            plan = plan.only(kept)
        if self.become is not None:
            plan = plan.become(self.become)
        if self.actions is not None:
            plan = plan.only(self.actions)
        if self.producers is not None:
            chosen = [each for each in plan.producers if each.name in self.producers]
            plan = replace(plan, producers=tuple(chosen))
        if self.consumers is not None:
            chosen_consumers = [each for each in plan.consumers if each.name in self.consumers]
            plan = replace(plan, consumers=tuple(chosen_consumers))
        return plan


@dataclass(slots=True)
class Totals:
    """The sum of many simulations."""

    seeds: int = 0
    simulated_s: float = 0.0
    counts: Counts = field(default_factory=Counts)
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one more."""
        self.seeds += 1
        self.simulated_s += result.simulated_s
        self.counts.add(result.counts)
        self.faults.update(result.faults)
        if result.violation is not None:
            self.failures.append(result)

    def describe(self) -> str:
        """Return a line of figures."""
        counts = self.counts
        return (
            f"{self.seeds} seeds, {self.simulated_s / 3600:.1f} simulated hours, "
            f"{sum(self.faults.values())} faults and operations, "
            f"{counts.published} messages published, {counts.acknowledged} acknowledged, "
            f"{counts.delivered} delivered, {counts.again} again, {counts.duplicates} of them "
            f"after their FIN; acknowledged and gone: {counts.lost_by_class} by their class, "
            f"{counts.lost_to_damage} by damage; {len(self.failures)} seeds failed"
        )


def run_all(
    seeds: Iterable[int], selection: Selection, *, jobs: int = 1, seconds_max: float | None = None
) -> Iterator[Result]:
    """Yield the results as they come; begin no simulation after ``seconds_max``."""
    until = time.monotonic() + seconds_max if seconds_max is not None else float("inf")
    in_time = takewhile(lambda _: time.monotonic() < until, seeds)
    if jobs == 1:
        for seed in in_time:
            yield _simulate(selection, seed)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        running: set[Future[Result]] = set()
        for seed in in_time:
            running.add(pool.submit(_simulate, selection, seed))
            if len(running) > jobs:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        for future in running:
            yield future.result()


def _simulate(selection: Selection, seed: int) -> Result:
    return simulate(selection.plan_of(seed))


def fresh_seed() -> int:
    """Return a seed that, most likely, nobody has tried yet."""
    return random.SystemRandom().randrange(FRESH_SEEDS_FROM, 2**40)


def replay_command(plan: Plan) -> str:
    """Return the line that runs just this plan again."""
    whole = plan_of(plan.seed, plan.minutes)
    parts = [f"python -m tests.simulation --seed {plan.seed} --minutes {plan.minutes:g}"]
    if plan.became:
        whole = whole.become(plan.became)
        parts.append(f"--become {plan.became}")
    if plan.actions != whole.actions:
        parts.append("--only " + (",".join(str(action.number) for action in plan.actions) or "-"))
    if plan.producers != whole.producers:
        parts.append("--producers " + (",".join(each.name for each in plan.producers) or "-"))
    if plan.consumers != whole.consumers:
        parts.append("--consumers " + (",".join(each.name for each in plan.consumers) or "-"))
    return " ".join([*parts, "--trace"])


def describe_failure(failing: Result, *, is_shrunk: bool = True) -> str:
    """Return a failure for a person to read: how to replay it, and what led there."""
    smallest = shrink(failing) if is_shrunk else failing
    replayed = simulate(smallest.plan, is_trace_kept=True)
    assert replayed.violation is not None
    told = story_of(replayed.lines[:-1], replayed.violation.text)
    return "\n".join(
        [
            f"seed {failing.plan.seed}: {failing.violation}",
            f"  replay: {replay_command(failing.plan)}",
            f"  shrunk: {replay_command(smallest.plan)}",
            *(f"    {line}" for line in told[-TRACE_LINES:]),
            f"    {replayed.lines[-1]}",
        ]
    )
