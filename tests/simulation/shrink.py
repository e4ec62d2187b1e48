"""
Makes a failing plan small: fewer actions, clients and minutes, the same broken promise.

Halves of the actions are left out, then quarters, and so on, as long as the promise is still broken
without them (delta debugging).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.simulation.cluster import Result, simulate
from tests.simulation.plan import Plan

__all__ = ["shrink"]

SECONDS_MAX = 30.0

T = TypeVar("T")


def shrink(failing: Result) -> Result:
    """Return the failure of a plan that is a part of this one's."""
    return _Shrinker(failing).shrink()


class _Shrinker:
    def __init__(self, failing: Result) -> None:
        assert failing.violation is not None
        self._promise = failing.violation.promise
        self._best = failing
        self._until = time.process_time() + SECONDS_MAX  # others may keep the machine busy

    def shrink(self) -> Result:
        self._cut_time()
        self._reduce(
            [action.number for action in self._best.plan.actions],
            lambda plan, numbers: plan.only(set(numbers)),
        )
        self._reduce(
            list(self._best.plan.consumers),
            lambda plan, consumers: replace(plan, consumers=tuple(consumers)),
        )
        self._reduce(
            list(self._best.plan.producers),
            lambda plan, producers: replace(plan, producers=tuple(producers)),
        )
        self._cut_time()
        return self._best

    def _try(self, plan: Plan) -> bool:
        if time.process_time() > self._until:
            return False
        result = simulate(plan)
        if result.violation is None or result.violation.promise != self._promise:
            return False
        self._best = result
        return True

    def _cut_time(self) -> None:
        """End faults and work early; what comes after may be the quiet time at the end."""
        plan = self._best.plan
        for minutes in (0.2, 0.5, 1.0, 2.0, 4.0, self._best.simulated_s / 60):
            if minutes < plan.minutes and self._try(plan.until(round(minutes, 2))):
                return

    def _reduce(self, items: list[T], with_items: Callable[[Plan, Sequence[T]], Plan]) -> None:
        pieces = 2
        while items and time.process_time() < self._until:
            size = -(-len(items) // pieces)
            for start in range(0, len(items), size):
                fewer = items[:start] + items[start + size :]
                if self._try(with_items(self._best.plan, fewer)):
                    items = fewer
                    pieces = max(2, pieces - 1)
                    break
            else:
                if size == 1:
                    return
                pieces = min(len(items), 2 * pieces)
