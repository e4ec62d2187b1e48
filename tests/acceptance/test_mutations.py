"""Each deliberate defect is found by the simulator within a minute: it can tell."""

import pytest

from tests.simulation.mutations import MUTATIONS, SECONDS_MAX, Mutation, find

# Of processor time two workers share: a minute of an idle machine.
PATIENCE = 3


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name.replace(" ", "_"))
def test_a_defect_is_found(mutation: Mutation) -> None:
    promise, seeds = find(mutation, PATIENCE * SECONDS_MAX, jobs=1)
    assert promise is not None, f"not found by {seeds} seeds"
