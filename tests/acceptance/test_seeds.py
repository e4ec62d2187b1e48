"""A campaign of fresh seeds: clusters in simulated time. ``make simulate`` runs any number."""

import os

import pytest

from tests.simulation.campaign import Selection, describe_failure, fresh_seed
from tests.simulation.cluster import simulate

SEEDS = int(os.environ.get("SEEDS", "30"))
MINUTES = 10.0


@pytest.mark.parametrize("offset", range(SEEDS))
def test_a_fresh_seed_keeps_every_promise(offset: int, first_seed: int) -> None:
    selection = Selection(MINUTES)
    result = simulate(selection.plan_of(first_seed + offset))
    if result.violation is not None:
        pytest.fail(describe_failure(result), pytrace=False)


@pytest.fixture(scope="module")
def first_seed() -> int:
    return fresh_seed()
