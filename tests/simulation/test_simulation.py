"""
Some seeds of the simulator, as a part of `make test`; `make simulate` runs as many as one likes.

A failure prints the line that replays it, and a shrunk trace.
"""

import gc
import os
import subprocess
import sys

import pytest

from tests.simulation.auditor import Auditor
from tests.simulation.campaign import Selection, describe_failure, fresh_seed, replay_command
from tests.simulation.cluster import simulate
from tests.simulation.mutations import MUTATIONS, ROOT, Mutation
from tests.simulation.plan import plan_of
from tests.simulation.regressions import REGRESSIONS, Regression
from tests.simulation.story import story_of

FIXED_SEEDS = range(6)
FRESH_SEEDS = 6
MINUTES = 3.0
FAILED = "simulation/failed"  # fresh seeds, in pytest's cache


def check(selection: Selection, seed: int) -> None:
    result = simulate(selection.plan_of(seed))
    if result.violation is not None:
        pytest.fail(describe_failure(result), pytrace=False)


@pytest.mark.parametrize("seed", FIXED_SEEDS)
def test_fixed_seed(seed: int) -> None:
    check(Selection(MINUTES), seed)


def test_fresh_seeds(request: pytest.FixtureRequest) -> None:
    """One that fails is tried first from then on, until it passes."""
    cache = request.config.cache
    first = fresh_seed()
    for seed in (*cache.get(FAILED, []), *range(first, first + FRESH_SEEDS)):
        cache.set(FAILED, [seed])
        check(Selection(MINUTES), seed)
    cache.set(FAILED, [])


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda each: f"seed{each.seed}")
def test_regression(regression: Regression) -> None:
    check(Selection(regression.minutes, regression.actions), regression.seed)


def test_same_seed_has_the_same_trace_in_every_process() -> None:
    """Also with another order of sets and dictionaries of strings."""

    def lines_of(hash_seed: str) -> bytes:
        command = [sys.executable, "-m", "tests.simulation", "--seed", "12", "--minutes", "0.5"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        return subprocess.run(
            [*command, "--trace"], env=environment, check=True, capture_output=True
        ).stdout

    assert lines_of("1") == lines_of("2")


def test_nothing_is_held_of_a_simulation_that_is_over() -> None:
    """Of hundreds of seeds in one process each held ten megabytes: works that never went on."""

    def auditors() -> int:
        gc.collect()
        return sum(isinstance(each, Auditor) for each in gc.get_objects())

    before = auditors()
    assert simulate(plan_of(11, 3.0)).violation is None
    assert auditors() == before


def test_the_story_of_a_failure_leaves_out_what_has_nothing_to_do_with_it() -> None:
    about = [
        "00:01.000000  producer0    publishes 7 to 9 to orders at nsqd0",
        "00:01.000001  nsqd0        orders has 3 to 5",
        "00:01.000002  nsqd0        orders/billing sends 1, 4",
        "00:01.500000  fault        #0 kill at nsqd1",
        "00:01.600000  nsqd0        starts after kill",
    ]
    other = [
        "00:01.600000  nsqd0        starts after kill",
        "00:02.000000  producer0    publishes 10 to orders at nsqd0",
        "00:02.000001  nsqd0        clicks has 4 to 4",
        "00:02.000002  nsqd0        orders/billing finishes 1 to 3",
        "00:02.000003  nsqd1        orders/billing finishes 4 to 4",
        "00:02.000004  nsqd0        answers E_FIN_FAILED",
    ]
    violation = "message 8, 4 of orders/billing at nsqd0, is delivered after it was finished"
    assert story_of([*about, *other], violation) == about


def test_leaving_an_action_out_changes_no_other_source_of_chance() -> None:
    plan = plan_of(3, 1.0)
    without = plan.only([action.number for action in plan.actions if action.number])
    assert [action for action in plan.actions if action.number] == list(without.actions)
    assert without.producers == plan.producers


def test_the_replay_line_names_what_is_left_of_the_plan() -> None:
    plan = plan_of(3, 1.0)
    assert replay_command(plan) == "python -m tests.simulation --seed 3 --minutes 1 --trace"
    assert "--only 0 " in replay_command(plan.only({0}))
    assert "--only - " in replay_command(plan.only(()))
    killed = plan.become("kill,peek").only({2})
    assert " --become kill,peek --only 2 " in replay_command(killed)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_each_deliberate_defect_has_its_place(mutation: Mutation) -> None:
    """Code that moves takes them along; who runs them would find out much later."""
    assert (ROOT / mutation.path).read_text().count(mutation.old) == 1
